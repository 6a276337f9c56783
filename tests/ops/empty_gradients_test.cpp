// Gradients of graphs without elements: zero wherever they have elements.
#include <gtest/gtest.h>

#include <functional>

#include "autograd/engine.h"
#include "autograd/node.h"
#include "ops/attention/attention.h"
#include "ops/binary/binary.h"
#include "ops/concat/concat.h"
#include "ops/conv2d/conv2d.h"
#include "ops/cross_entropy/cross_entropy.h"
#include "ops/embedding/embedding.h"
#include "ops/index_select/index_select.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/linear/linear.h"
#include "ops/linear_cross_entropy/linear_cross_entropy.h"
#include "ops/matmul/matmul.h"
#include "ops/norm_linear/norm_linear.h"
#include "ops/outer_product_mean/outer_product_mean.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/softmax/softmax.h"
#include "ops/sum/sum.h"
#include "ops/transition/transition.h"
#include "ops/view/view.h"
#include "tests/ops/empty_support.h"

namespace reckon::testing {
namespace {

// The gradients of every leaf of a sum over what `f` gives; those with elements must be zero.
struct Graph {
  const char* name;
  std::vector<Shape> leaves;
  std::function<Tensor(Device&, const TensorList&)> run;
};

std::vector<Graph> graphs() {
  return {
      {"linear, no outputs",
       {{1, 5}, {0, 5}, {0}},
       [](Device&, const TensorList& t) { return ops::linear(t[0], t[1], t[2]); }},
      {"linear, no rows",
       {{0, 5}, {3, 5}, {3}},
       [](Device&, const TensorList& t) { return ops::linear(t[0], t[1], t[2]); }},
      {"linear, no inputs",
       {{2, 0}, {3, 0}},
       [](Device&, const TensorList& t) { return ops::linear(t[0], t[1]); }},
      {"matmul", {{2, 0}, {0, 3}}, [](Device&, const TensorList& t) { return ops::matmul(t[0], t[1]); }},
      {"matmul, no rows",
       {{2, 0, 4}, {4, 3}},
       [](Device&, const TensorList& t) { return ops::matmul(t[0], t[1]); }},
      {"embedding", {{4, 2}}, [](Device& d, const TensorList& t) { return ops::embedding(ids(d, {0}), t[0]); }},
      {"index_select",
       {{4, 2}},
       [](Device& d, const TensorList& t) { return ops::index_select(t[0], 0, ids(d, {0})); }},
      {"layer_norm",
       {{0, 4}, {4}, {4}},
       [](Device&, const TensorList& t) { return ops::layer_norm(t[0], t[1], t[2], 1e-5); }},
      {"layer_norm, no width",
       {{3, 0}, {0}, {0}},
       [](Device&, const TensorList& t) { return ops::layer_norm(t[0], t[1], t[2], 1e-5); }},
      {"rms_norm", {{0, 4}, {4}}, [](Device&, const TensorList& t) { return ops::rms_norm(t[0], t[1], 1e-5); }},
      {"norm_linear",
       {{0, 4}, {4}, {4}, {3, 4}, {3}},
       [](Device&, const TensorList& t) {
         return ops::norm_linear(t[0], ops::NormKind::layer, t[1], t[2], 1e-5, {&t[3], 1}, {&t[4], 1})[0];
       }},
      {"conv2d",
       {{0, 2, 4, 4}, {3, 2, 3, 3}, {3}},
       [](Device&, const TensorList& t) {
         return ops::conv2d(t[0], t[1], t[2], {1, 1}, {1, 1}, {1, 1}, 1);
       }},
      {"attention, no keys",
       {{1, 1, 4, 3, 2}, {1, 1, 2, 0, 2}, {1, 1, 2, 0, 2}},
       [](Device&, const TensorList& t) { return ops::attention(t[0], t[1], t[2], {}, {}, {.scale = 1}); }},
      {"attention, no queries",
       {{1, 1, 2, 0, 2}, {1, 1, 2, 3, 2}, {1, 1, 2, 3, 2}},
       [](Device&, const TensorList& t) { return ops::attention(t[0], t[1], t[2], {}, {}, {.scale = 1}); }},
      {"softmax", {{3, 0}}, [](Device&, const TensorList& t) { return ops::softmax(t[0], -1); }},
      {"logsumexp", {{0, 3}}, [](Device&, const TensorList& t) { return ops::logsumexp(t[0], -1); }},
      {"cross_entropy",
       {{0, 5}},
       [](Device& d, const TensorList& t) {
         return ops::cross_entropy(t[0], ids(d, {0}), ops::Reduction::sum);
       }},
      {"linear_cross_entropy",
       {{0, 5}, {3, 5}},
       [](Device& d, const TensorList& t) {
         return ops::linear_cross_entropy(t[0], t[1], ids(d, {0}), ops::Reduction::sum);
       }},
      {"broadcast", {{3, 1}, {3, 0}}, [](Device&, const TensorList& t) { return ops::mul(t[0], t[1]); }},
      {"slice", {{3, 4}}, [](Device&, const TensorList& t) { return ops::slice(t[0], 1, 2, 2); }},
      {"concat", {{2, 0}, {2, 0}}, [](Device&, const TensorList& t) { return ops::concat(t, 1); }},
      {"expand",
       {{1, 3}},
       [](Device&, const TensorList& t) {
         return ops::expand(t[0], {0, 3});
       }},
      {"relu_transition",
       {{0, 4}, {4}, {4}, {5, 4}, {5}, {3, 5}, {3}},
       [](Device&, const TensorList& t) {
         return ops::relu_transition(t[0], t[1], t[2], t[3], t[4], t[5], t[6], 1e-5);
       }},
      {"swiglu_transition",
       {{0, 4}, {4}, {5, 4}, {5, 4}, {3, 5}},
       [](Device&, const TensorList& t) {
         return ops::swiglu_transition(t[0], t[1], {}, t[2], t[3], t[4], 1e-5);
       }},
      {"triangle_multiply",
       {{0, 2, 2, 3}},
       [](Device& d, const TensorList& t) {
         return ops::triangle_multiply(t[0], {}, triangle_weights(d, 3), false, 1e-5);
       }},
      {"outer_product_mean",
       {{1, 0, 2, 3}, {1, 0, 2, 3}, {2, 9}},
       [](Device&, const TensorList& t) { return ops::outer_product_mean(t[0], t[1], t[2], {}, {}, {}); }},
  };
}

TEST(EmptyTensors, GradientsAreZeroWhereTheyHaveElements) {
  for (const Graph& g : graphs())
    for (DType t : {DType::f32, DType::f64}) {
      auto device = make_device(DeviceKind::cpu);
      leave_behind(*device, 7.0);
      TensorList leaves;
      for (const Shape& s : g.leaves) {
        leaves.push_back(ones(*device, s, t));
        autograd::set_requires_grad(leaves.back());
      }
      ASSERT_NO_THROW(autograd::backward(ops::sum_all(g.run(*device, leaves)))) << g.name;
      for (size_t i = 0; i < leaves.size(); ++i) {
        const Tensor grad = autograd::grad_of(leaves[i]);
        ASSERT_TRUE(grad.defined()) << g.name << " / " << i;
        expect_values(to_doubles(grad), V(static_cast<size_t>(leaves[i].numel())),
                      fmt::format("{} / {}", g.name, i));
      }
    }
}

}  // namespace
}  // namespace reckon::testing
