// Tensors without elements: contiguous, taken by every op, and with the values that PyTorch gives where a result
// has elements all the same.
#include <gtest/gtest.h>

#include <functional>

#include "ops/activation/activation.h"
#include "ops/adamw/adamw.h"
#include "ops/attention/attention.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/concat/concat.h"
#include "ops/conv2d/conv2d.h"
#include "ops/copy_into/copy_into.h"
#include "ops/cross_entropy/cross_entropy.h"
#include "ops/diagonal/diagonal.h"
#include "ops/einsum/einsum.h"
#include "ops/embedding/embedding.h"
#include "ops/fill/fill.h"
#include "ops/grad_norm/grad_norm.h"
#include "ops/grad_scaler/grad_scaler.h"
#include "ops/index_select/index_select.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/linear/linear.h"
#include "ops/linear_cross_entropy/linear_cross_entropy.h"
#include "ops/masked_fill/masked_fill.h"
#include "ops/matmul/matmul.h"
#include "ops/mean_var/mean_var.h"
#include "ops/mse_loss/mse_loss.h"
#include "ops/norm_linear/norm_linear.h"
#include "ops/outer_product_mean/outer_product_mean.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/rope/rope.h"
#include "ops/sgd/sgd.h"
#include "ops/softmax/softmax.h"
#include "ops/sum/sum.h"
#include "ops/transition/transition.h"
#include "ops/view/view.h"
#include "tests/ops/empty_support.h"
#include "tests/support/event_log.h"

namespace reckon::testing {
namespace {

struct Named {
  const char* name;
  std::function<Tensor(Device&)> run;
  Shape shape;
  V values;
};

std::vector<Named> results() {
  using ops::Reduction;
  const auto zeros = [](int64_t n) { return V(static_cast<size_t>(n), 0.0); };
  return {
      {"sum over nothing",
       [](Device& d) {
         return ops::sum(ones(d, {0, 3}), {0});
       },
       {3},
       zeros(3)},
      {"sum of nothing",
       [](Device& d) {
         return ops::sum_all(ones(d, {3, 0}));
       },
       {},
       {0}},
      {"mean over nothing",
       [](Device& d) {
         return ops::mean(ones(d, {2, 0}), {1});
       },
       {2},
       {kNaN, kNaN}},
      {"mean of no rows",
       [](Device& d) {
         return ops::mean(ones(d, {0, 3}), {1});
       },
       {0},
       {}},
      {"matmul",
       [](Device& d) {
         return ops::matmul(ones(d, {2, 0}), ones(d, {0, 3}));
       },
       {2, 3},
       zeros(6)},
      {"batched matmul",
       [](Device& d) {
         return ops::matmul(ones(d, {2, 2, 0}), ones(d, {0, 1}));
       },
       {2, 2, 1},
       zeros(4)},
      {"matmul, no columns",
       [](Device& d) {
         return ops::matmul(ones(d, {7, 2, 9}), ones(d, {7, 9, 0}));
       },
       {7, 2, 0},
       {}},
      {"linear, no inputs",
       [](Device& d) {
         return ops::linear(ones(d, {2, 0}), ones(d, {3, 0}), ones(d, {3}));
       },
       {2, 3},
       V(6, 1.0)},
      {"linear, no bias",
       [](Device& d) {
         return ops::linear(ones(d, {2, 0}), ones(d, {3, 0}));
       },
       {2, 3},
       zeros(6)},
      {"linear, no outputs",
       [](Device& d) {
         return ops::linear(ones(d, {2, 5}), ones(d, {0, 5}), ones(d, {0}));
       },
       {2, 0},
       {}},
      {"linear, no rows",
       [](Device& d) {
         return ops::linear(ones(d, {0, 5}), ones(d, {3, 5}));
       },
       {0, 3},
       {}},
      {"einsum",
       [](Device& d) {
         return ops::einsum("ij,jk->ik", {ones(d, {2, 0}), ones(d, {0, 3})});
       },
       {2, 3},
       zeros(6)},
      {"einsum, batched",
       [](Device& d) {
         return ops::einsum("bij,bjk->ik", {ones(d, {0, 2, 3}), ones(d, {0, 3, 2})});
       },
       {2, 2},
       zeros(4)},
      {"softmax",
       [](Device& d) {
         return ops::softmax(ones(d, {3, 0}), -1);
       },
       {3, 0},
       {}},
      {"softmax, other axis",
       [](Device& d) {
         return ops::softmax(ones(d, {3, 0}), 0);
       },
       {3, 0},
       {}},
      {"log_softmax",
       [](Device& d) {
         return ops::log_softmax(ones(d, {3, 0}), -1);
       },
       {3, 0},
       {}},
      {"logsumexp",
       [](Device& d) {
         return ops::logsumexp(ones(d, {2, 0}), -1);
       },
       {2},
       {-kInf, -kInf}},
      {"layer_norm, no rows",
       [](Device& d) {
         return ops::layer_norm(ones(d, {0, 4}), ones(d, {4}), ones(d, {4}), 1e-5);
       },
       {0, 4},
       {}},
      {"layer_norm, no width",
       [](Device& d) {
         return ops::layer_norm(ones(d, {3, 0}), ones(d, {0}), ones(d, {0}), 1e-5);
       },
       {3, 0},
       {}},
      {"rms_norm, no rows",
       [](Device& d) {
         return ops::rms_norm(ones(d, {0, 4}), ones(d, {4}), 1e-5);
       },
       {0, 4},
       {}},
      {"rms_norm, no width",
       [](Device& d) {
         return ops::rms_norm(ones(d, {3, 0}), ones(d, {0}), 1e-5);
       },
       {3, 0},
       {}},
      {"attention, no keys",
       [](Device& d) {
         return ops::attention(ones(d, {1, 1, 4, 3, 2}), ones(d, {1, 1, 2, 0, 2}), ones(d, {1, 1, 2, 0, 2}), {},
                               {}, {.scale = 1});
       },
       {1, 1, 3, 4, 2},
       zeros(24)},
      {"attention, no queries",
       [](Device& d) {
         return ops::attention(ones(d, {1, 1, 2, 0, 2}), ones(d, {1, 1, 2, 3, 2}), ones(d, {1, 1, 2, 3, 2}), {},
                               {}, {.scale = 1});
       },
       {1, 1, 0, 2, 2},
       {}},
      {"attention, no batch",
       [](Device& d) {
         return ops::attention(ones(d, {0, 1, 2, 3, 2}), ones(d, {0, 1, 2, 3, 2}), ones(d, {0, 1, 2, 3, 2}), {},
                               {}, {.scale = 1});
       },
       {0, 1, 3, 2, 2},
       {}},
      {"cross_entropy, mean",
       [](Device& d) {
         return ops::cross_entropy(ones(d, {0, 5}), ids(d, {0}), Reduction::mean);
       },
       {},
       {kNaN}},
      {"cross_entropy, sum",
       [](Device& d) {
         return ops::cross_entropy(ones(d, {0, 5}), ids(d, {0}), Reduction::sum);
       },
       {},
       {0}},
      {"cross_entropy, none",
       [](Device& d) {
         return ops::cross_entropy(ones(d, {0, 5}), ids(d, {0}), Reduction::none);
       },
       {0},
       {}},
      {"linear_cross_entropy, mean",
       [](Device& d) {
         return ops::linear_cross_entropy(ones(d, {0, 5}), ones(d, {3, 5}), ids(d, {0}), Reduction::mean);
       },
       {},
       {kNaN}},
      {"linear_cross_entropy, no width",
       [](Device& d) {
         return ops::linear_cross_entropy(ones(d, {2, 0}), ones(d, {4, 0}), ids(d, {2}), Reduction::mean);
       },
       {},
       {std::log(4.0)}},
      {"mse_loss, mean",
       [](Device& d) {
         return ops::mse_loss(ones(d, {0, 5}), ones(d, {0, 5}), Reduction::mean);
       },
       {},
       {kNaN}},
      {"mse_loss, sum",
       [](Device& d) {
         return ops::mse_loss(ones(d, {0, 5}), ones(d, {0, 5}), Reduction::sum);
       },
       {},
       {0}},
      {"conv2d, no images",
       [](Device& d) {
         return ops::conv2d(ones(d, {0, 2, 4, 4}), ones(d, {3, 2, 3, 3}), ones(d, {3}), {1, 1}, {1, 1}, {1, 1},
                            1);
       },
       {0, 3, 4, 4},
       {}},
      {"embedding, no ids",
       [](Device& d) {
         return ops::embedding(ids(d, {0}), ones(d, {4, 2}));
       },
       {0, 2},
       {}},
      {"embedding, no rows either",
       [](Device& d) {
         return ops::embedding(ids(d, {2, 0}), ones(d, {0, 3}));
       },
       {2, 0, 3},
       {}},
      {"index_select",
       [](Device& d) {
         return ops::index_select(ones(d, {3, 2}), 0, ids(d, {0}));
       },
       {0, 2},
       {}},
      {"scatter_add of nothing",
       [](Device& d) {
         return ops::scatter_add(ones(d, {3, 2}), 0, ids(d, {0}), ones(d, {0, 2}));
       },
       {3, 2},
       V(6, 1.0)},
      {"one_hot", [](Device& d) { return ops::one_hot(ids(d, {0}), 5, DType::f32); }, {0, 5}, {}},
      {"concat",
       [](Device& d) {
         const TensorList parts{ones(d, {2, 0}), ones(d, {2, 1}), ones(d, {2, 0})};
         return ops::concat(parts, 1);
       },
       {2, 1},
       {1, 1}},
      {"concat of nothing",
       [](Device& d) {
         const TensorList parts{ones(d, {2, 0}), ones(d, {2, 0})};
         return ops::concat(parts, 1);
       },
       {2, 0},
       {}},
      {"pad of nothing",
       [](Device& d) {
         return ops::pad_with_zeros(ones(d, {2, 0}), 1, 1, 3);
       },
       {2, 3},
       zeros(6)},
      {"cast",
       [](Device& d) {
         return ops::cast(ones(d, {3, 0}), DType::bf16);
       },
       {3, 0},
       {}},
      {"masked_fill",
       [](Device& d) {
         return ops::masked_fill(ones(d, {3, 0}), ones(d, {3, 0}), 2.0);
       },
       {3, 0},
       {}},
      {"diagonal",
       [](Device& d) {
         return ops::diagonal(ones(d, {0, 0}), 0, 1);
       },
       {0},
       {}},
      {"broadcast with nothing",
       [](Device& d) {
         return ops::add(ones(d, {3, 1}), ones(d, {3, 0}));
       },
       {3, 0},
       {}},
      {"rope",
       [](Device& d) {
         return ops::rope(ones(d, {0, 3, 2, 4}), ids(d, {3}), 1e4);
       },
       {0, 3, 2, 4},
       {}},
      {"reshape",
       [](Device& d) {
         return ops::reshape(ones(d, {3, 0}), {0, 7, 2});
       },
       {0, 7, 2},
       {}},
      {"norm_linear, no rows",
       [](Device& d) {
         const Tensor w = ones(d, {3, 4});
         return ops::norm_linear(ones(d, {0, 4}), ops::NormKind::layer, ones(d, {4}), ones(d, {4}), 1e-5,
                                 {&w, 1}, {})[0];
       },
       {0, 3},
       {}},
      {"norm_linear, no width",
       [](Device& d) {
         const Tensor w = ones(d, {3, 0}), b = ones(d, {3});
         return ops::norm_linear(ones(d, {2, 0}), ops::NormKind::rms, ones(d, {0}), {}, 1e-5, {&w, 1},
                                 {&b, 1})[0];
       },
       {2, 3},
       V(6, 1.0)},
      {"relu_transition",
       [](Device& d) {
         return ops::relu_transition(ones(d, {2, 4}), ones(d, {4}), ones(d, {4}), ones(d, {0, 4}), ones(d, {0}),
                                     ones(d, {3, 0}), ones(d, {3}), 1e-5);
       },
       {2, 3},
       V(6, 1.0)},
      {"swiglu_transition",
       [](Device& d) {
         return ops::swiglu_transition(ones(d, {0, 4}), ones(d, {4}), {}, ones(d, {5, 4}), ones(d, {5, 4}),
                                       ones(d, {3, 5}), 1e-5);
       },
       {0, 3},
       {}},
      {"triangle_multiply",
       [](Device& d) {
         return ops::triangle_multiply(ones(d, {0, 2, 2, 3}), ones(d, {0, 2, 2}), triangle_weights(d, 3), true,
                                       1e-5);
       },
       {0, 2, 2, 3},
       {}},
      {"outer_product_mean, no rows",
       [](Device& d) {
         return ops::outer_product_mean(ones(d, {1, 0, 2, 3}), ones(d, {1, 0, 2, 3}), ones(d, {2, 9}),
                                        ones(d, {2}), {}, {.eps = 0.5});
       },
       {1, 2, 2, 2},
       V(8, 2.0)},
      {"grad_norm",
       [](Device& d) {
         const TensorList g{ones(d, {0}), ones(d, {3, 0})};
         return ops::grad_norm(g);
       },
       {1},
       {0}},
      {"grad_norm_eager",
       [](Device& d) {
         const TensorList g{ones(d, {0}), ones(d, {4})};
         return ops::grad_norm_eager(g);
       },
       {1},
       {2}},
      {"non_finite",
       [](Device& d) {
         const TensorList g{ones(d, {0})};
         return ops::non_finite(g);
       },
       {1},
       {0}},
      {"adamw_all",
       [](Device& d) {
         TensorList p{ones(d, {0}), ones(d, {2})}, m{ones(d, {0}), ones(d, {2})}, v{ones(d, {0}), ones(d, {2})};
         ops::adamw_all(p, p, m, v, {.lr = 0});
         return p[1];
       },
       {2},
       {1, 1}},
      {"adamw_eager",
       [](Device& d) {
         Tensor p = ones(d, {0, 2}), m = ones(d, {0, 2}), v = ones(d, {0, 2});
         ops::adamw_eager(p, ones(d, {0, 2}), m, v, {});
         return p;
       },
       {0, 2},
       {}},
      {"sgd",
       [](Device& d) {
         Tensor p = ones(d, {3, 0}), none;
         ops::sgd(p, ones(d, {3, 0}), none, {});
         return p;
       },
       {3, 0},
       {}},
      {"in place",
       [](Device& d) {
         Tensor t = ones(d, {3, 0});
         ops::fill(t, 2.0);
         ops::accumulate(t, t);
         ops::copy_into(t, ones(d, {3, 0}));
         return t;
       },
       {3, 0},
       {}},
  };
}

TEST(EmptyTensors, GiveTheValuesOfPyTorchAndTheEventsOfTheDryRun) {
  for (const Named& n : results()) {
    std::vector<Event> logs[2];
    for (int meta = 0; meta < 2; ++meta) {
      auto device = make_device(meta ? DeviceKind::meta : DeviceKind::cpu);
      leave_behind(*device, 7.0);
      EventLog log;
      device->add_sink(&log);
      {
        Tensor out;
        ASSERT_NO_THROW(out = n.run(*device)) << n.name;
        EXPECT_EQ(to_string(out.shape()), to_string(n.shape)) << n.name;
        logs[meta] = log.events;
        if (!meta) expect_values(to_doubles(ops::cast(out, DType::f32)), n.values, n.name);
      }
      device->remove_sink(&log);
    }
    EXPECT_EQ(first_difference(logs[0], logs[1]), "") << n.name;
  }
}

TEST(EmptyTensors, AreContiguousAndReadAndWritten) {
  auto device = make_device(DeviceKind::cpu);
  for (const Shape& s : {Shape{0, 3}, Shape{3, 0}, Shape{2, 3, 0}, Shape{0, 0}, Shape{2, 0, 4}}) {
    const Tensor t = Tensor::empty(*device, s, DType::f32);
    EXPECT_TRUE(t.contiguous() && t.transposed(0, 1).contiguous()) << to_string(s);
    EXPECT_TRUE(t.to_host().empty());
    EXPECT_NO_THROW(t.copy_from_host(nullptr, 0));
    const int64_t before = device->n_launches();
    ops::contiguous(t.transposed(0, 1));
    ops::relu(t);
    ops::copy(t);
    EXPECT_EQ(device->n_launches(), before) << "there is nothing to do";
  }
}

}  // namespace
}  // namespace reckon::testing
