// The fused head against linear followed by cross_entropy, in values, gradients and memory.
#include "ops/linear_cross_entropy/linear_cross_entropy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "autograd/engine.h"
#include "autograd/node.h"
#include "ops/cross_entropy/cross_entropy.h"
#include "ops/linear/linear.h"
#include "tests/support/event_log.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

using ops::Reduction;
using Values = std::vector<double>;

Tensor random_tensor(Device& device, const Shape& shape, DType t, uint64_t seed) {
  return make_inputs(device, {.name = "", .inputs = {{.shape = shape}}}, t, seed)[0];
}

Tensor random_targets(Device& device, int64_t T, int64_t V, int64_t ignore_every) {
  std::vector<int64_t> v(static_cast<size_t>(T));
  for (int64_t i = 0; i < T; ++i)
    v[static_cast<size_t>(i)] = ignore_every > 0 && i % ignore_every == 0 ? -100 : i * 977 % V;
  return Tensor::from_host(device, {T}, DType::i64, v.data(), v.size() * 8, Category::input, "targets");
}

struct Outcome {
  Values loss, dx, dw;
};

Outcome run(bool fused, int64_t T, int64_t V, int64_t H, DType type, Reduction reduction, int64_t ignore_every,
            int threads = 2) {
  auto device = make_device(DeviceKind::cpu, threads);
  Tensor x = random_tensor(*device, {T, H}, type, 1), w = random_tensor(*device, {V, H}, type, 2);
  autograd::set_requires_grad(x);
  autograd::set_requires_grad(w);
  const Tensor targets = random_targets(*device, T, V, ignore_every);
  const TensorList roots{fused ? ops::linear_cross_entropy(x, w, targets, reduction)
                               : ops::cross_entropy(ops::linear(x, w), targets, reduction)};
  autograd::backward(roots, TensorList{random_tensor(*device, Shape{}, roots[0].dtype(), 9)});
  EXPECT_EQ(autograd::grad_of(x).dtype(), type);
  EXPECT_EQ(autograd::grad_of(w).dtype(), type);
  return {to_doubles(roots[0]), to_doubles(autograd::grad_of(x)), to_doubles(autograd::grad_of(w))};
}

TEST(LinearCrossEntropy, AgreesWithTheEagerChainInF64OnEverySideOfTheTiles) {
  for (const auto& [T, V, H] : {std::tuple{1, 1, 1},
                                {3, 7, 5},
                                {511, 130, 4},
                                {513, 33, 9},
                                {70, 2047, 3},
                                {65, 2049, 6},
                                {514, 4100, 2}})
    for (DType t : {DType::f64, DType::f32, DType::bf16, DType::f16})
      for (Reduction r : {Reduction::sum, Reduction::mean}) {
        SCOPED_TRACE(fmt::format("T {} V {} H {} {} {}", T, V, H, name_of(t), static_cast<int>(r)));
        // f16 gradients of a mean over many rows are too small for f16 itself
        if (t == DType::f16 && r == Reduction::mean && T > 100) continue;
        const Outcome want = run(false, T, V, H, DType::f64, r, 5), got = run(true, T, V, H, t, r, 5);
        if (T == 1) {
          // Its only target is ignored.
          EXPECT_TRUE(r == Reduction::sum ? got.loss[0] == 0 : std::isnan(got.loss[0]));
          continue;
        }
        EXPECT_LE(relative_error(got.loss, want.loss), tolerance(t));
        EXPECT_LE(relative_error(got.dx, want.dx), tolerance(t)) << "dx";
        EXPECT_LE(relative_error(got.dw, want.dw), tolerance(t)) << "dw";
      }
}

TEST(LinearCrossEntropy, AgreesWithTheEagerChainInTheSameTypeWithinItsRounding) {
  for (DType t : {DType::f32, DType::bf16}) {
    const Outcome eager = run(false, 40, 300, 64, t, Reduction::mean, 7),
                  fused = run(true, 40, 300, 64, t, Reduction::mean, 7);
    EXPECT_LE(relative_error(fused.loss, eager.loss), tolerance(t));
    EXPECT_LE(relative_error(fused.dx, eager.dx), 3 * tolerance(t));
    EXPECT_LE(relative_error(fused.dw, eager.dw), 3 * tolerance(t));
  }
}

TEST(LinearCrossEntropy, GradientsAreTheSameBitsForEveryNumberOfThreads) {
  for (DType t : {DType::f32, DType::bf16}) {
    const Outcome one = run(true, 600, 2100, 24, t, Reduction::mean, 3, 1),
                  two = run(true, 600, 2100, 24, t, Reduction::mean, 3, 2);
    EXPECT_EQ(one.loss, two.loss);
    EXPECT_EQ(one.dx, two.dx);
    EXPECT_EQ(one.dw, two.dw);
  }
}

TEST(LinearCrossEntropy, IgnoredRowsDoNotTouchLossOrGradients) {
  auto device = make_device(DeviceKind::cpu);
  const int64_t T = 6, V = 9, H = 4;
  const Tensor w = random_tensor(*device, {V, H}, DType::f32, 2), targets = random_targets(*device, T, V, 2);
  Tensor x = random_tensor(*device, {T, H}, DType::f32, 1);
  for (int64_t i = 0; i < T; i += 2)
    for (int64_t l = 0; l < H; ++l) x.data<float>()[i * H + l] = NAN;
  autograd::set_requires_grad(x);
  const TensorList roots{ops::linear_cross_entropy(x, w, targets, Reduction::mean)};
  EXPECT_TRUE(std::isfinite(to_doubles(roots[0])[0]));
  const float one = 1.0f;
  autograd::backward(
      roots, TensorList{Tensor::from_host(*device, Shape{}, DType::f32, &one, 4, Category::input, "seed")});
  const Values dx = to_doubles(autograd::grad_of(x));
  for (int64_t i = 0; i < T * H; ++i)
    if (i / H % 2 == 0) {
      EXPECT_EQ(dx[static_cast<size_t>(i)], 0.0);
    }
}

TEST(LinearCrossEntropy, UniformLogitsLoseTheLogOfTheClasses) {
  auto device = make_device(DeviceKind::cpu);
  const std::vector<float> zeros(5 * 3000, 0.0f);
  const Tensor w =
      Tensor::from_host(*device, {3000, 5}, DType::f32, zeros.data(), zeros.size() * 4, Category::input, "w");
  const Tensor x = random_tensor(*device, {4, 5}, DType::f32, 1), targets = random_targets(*device, 4, 3000, 0);
  EXPECT_NEAR(to_doubles(ops::linear_cross_entropy(x, w, targets, Reduction::mean))[0], std::log(3000.0), 1e-5);
  EXPECT_NEAR(to_doubles(ops::linear_cross_entropy(x, w, targets, Reduction::sum))[0], 4 * std::log(3000.0),
              4e-5);
}

TEST(LinearCrossEntropy, LargeLogitsStayFinite) {
  auto device = make_device(DeviceKind::cpu);
  std::vector<float> weight(3000, -2e4f);
  weight[2999] = 3e4f;  // the running maximum changes in the second tile of classes
  const float ones[2] = {1.0f, 1.0f};
  const int64_t targets[2] = {2999, 0};
  const Tensor w =
      Tensor::from_host(*device, {3000, 1}, DType::f32, weight.data(), weight.size() * 4, Category::input, "w");
  const Tensor x = Tensor::from_host(*device, {2, 1}, DType::f32, ones, 8, Category::input, "x");
  const Tensor t = Tensor::from_host(*device, {2}, DType::i64, targets, 16, Category::input, "t");
  EXPECT_EQ(to_doubles(ops::linear_cross_entropy(x, w, t, Reduction::sum))[0], 5e4);
}

TEST(LinearCrossEntropy, WorkspaceIsBoundedForAnyNumberOfRowsAndClasses) {
  const auto largest_workspace = [](int64_t T, int64_t V) {
    EventLog log;
    auto device = make_device(DeviceKind::meta, 2);
    Tensor x = Tensor::empty(*device, {T, 64}, DType::bf16), w = Tensor::empty(*device, {V, 64}, DType::bf16);
    autograd::set_requires_grad(x);
    autograd::set_requires_grad(w);
    device->add_sink(&log);
    const TensorList roots{
        ops::linear_cross_entropy(x, w, Tensor::empty(*device, {T}, DType::i64), Reduction::mean)};
    autograd::backward(roots, TensorList{Tensor::empty(*device, Shape{}, DType::f32)});
    int64_t most = 0;
    for (const Event& e : log.events)
      if (e.kind == EventKind::allocated && e.category == Category::workspace) most = std::max(most, e.bytes);
    return most;
  };
  EXPECT_EQ(largest_workspace(8192, 150000), largest_workspace(1024, 4096));
  EXPECT_LT(largest_workspace(8192, 150000), 8 << 20);
}

TEST(LinearCrossEntropy, KeepsItsInputsAndTwoFloatsPerRow) {
  auto device = make_device(DeviceKind::meta, 2);
  const TensorList in{Tensor::empty(*device, {100, 8}, DType::bf16),
                      Tensor::empty(*device, {5000, 8}, DType::bf16),
                      Tensor::empty(*device, {100}, DType::i64)};
  const ops::OpDef& op = ops::op_by_name("linear_cross_entropy");
  const ops::Plan p = ops::plan_of(op, in, op.cases()[0].attrs, device->spec(), ~0u);
  ASSERT_EQ(p.saves.size(), 4u);
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(!p.saves[static_cast<size_t>(i)].output && p.saves[static_cast<size_t>(i)].index == i);
  EXPECT_TRUE(p.saves[3].output);
  EXPECT_EQ(p.outputs[static_cast<size_t>(p.saves[3].index)].shape, (Shape{2, 100}));
  EXPECT_EQ(p.cost.matmul_flops, 2 * 100 * 5000 * 8);
}

TEST(LinearCrossEntropy, SaysWhatIsWrong) {
  auto device = make_device(DeviceKind::cpu);
  const Tensor x = random_tensor(*device, {4, 5}, DType::f32, 1),
               w = random_tensor(*device, {7, 5}, DType::f32, 1);
  const auto says = [&](const Tensor& t, const Tensor& weight, Reduction r, const char* part) {
    try {
      ops::linear_cross_entropy(x, weight, t, r);
    } catch (const Error& e) {
      return std::string(e.what()).find(part) != std::string::npos ? std::string() : std::string(e.what());
    }
    return std::string("no error");
  };
  const Tensor good = random_targets(*device, 4, 7, 0);
  EXPECT_EQ(says(random_targets(*device, 4, 700, 0), w, Reduction::mean, "neither in [0, 7)"), "");
  EXPECT_EQ(says(good, w, Reduction::none, "not one per row"), "");
  EXPECT_EQ(says(random_targets(*device, 3, 7, 0), w, Reduction::mean, "must be i64 [4]"), "");
  EXPECT_EQ(
      says(good, random_tensor(*device, {7, 6}, DType::f32, 1), Reduction::mean, "weight [classes, width]"),
      "");
}

}  // namespace
}  // namespace reckon::testing
