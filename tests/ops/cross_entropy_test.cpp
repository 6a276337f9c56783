// Cross entropy beyond the suites over every op: ignored targets, wrong targets, large logits, what it keeps.
#include "ops/cross_entropy/cross_entropy.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/autocast.h"
#include "autograd/grad_mode.h"
#include "ops/binary/binary.h"
#include "ops/softmax/softmax.h"
#include "tests/support/op_values.h"

namespace reckon::testing {
namespace {

using ops::Reduction;

TEST(CrossEntropy, GivesKnownLossesAndLeavesIgnoredTargetsOutOfTheMean) {
  const Values v;
  const Tensor x = v.leaf(v.f64({3, 2}, {0, 0, 0, std::log(3.0), NAN, 5}));
  const Tensor targets = v.i64({3}, {0, 1, -100});
  const double first = std::log(2.0), second = std::log(4.0 / 3);
  expect_near(ops::cross_entropy(x, targets, Reduction::none), {first, second, 0}, 1e-15);
  expect_near(ops::cross_entropy(x, targets, Reduction::sum), {first + second}, 1e-15);
  const Tensor mean = ops::cross_entropy(x, targets, Reduction::mean);
  expect_near(mean, {(first + second) / 2}, 1e-15);
  autograd::backward(mean);
  // Exactly 0 even where a logit is NaN.
  expect_near(autograd::grad_of(x), {-0.25, 0.25, 0.125, -0.125, 0, 0}, 1e-15);
}

TEST(CrossEntropy, WithoutACountedTargetTheMeanIsNaNAndTheGradientZero) {
  const Values v;
  const Tensor x = v.leaf(v.f64({2, 3}, {1, 2, 3, 4, 5, 6}));
  const Tensor loss = ops::cross_entropy(x, v.i64({2}, {7, 7}), Reduction::mean, 7);
  EXPECT_TRUE(std::isnan(to_doubles(loss)[0]));
  autograd::backward(loss);
  expect_near(autograd::grad_of(x), std::vector<double>(6, 0.0), 0);
}

TEST(CrossEntropy, EqualsThePickedLogSoftmaxInValueAndGradient) {
  const Values v;
  const Tensor a = v.leaf(v.random({4, 5}, DType::f64, 1)), b = v.leaf(v.random({4, 5}, DType::f64, 1));
  const Tensor picked = v.f64({4, 5}, {0, 0, -1, 0, 0, -1, 0, 0, 0, 0, 0, 0, 0, 0, -1, 0, 0, 0, -1, 0});
  const Tensor fused = ops::cross_entropy(a, v.i64({4}, {2, 0, 4, 3}), Reduction::none);
  const Tensor plain = ops::mul(ops::log_softmax(b), picked);
  const std::vector<double> wide = to_doubles(plain);
  expect_near(fused, {wide[2], wide[5], wide[14], wide[18]}, 1e-14);
  autograd::backward(fused, v.f64({4}, {1, 2, 3, 4}));
  autograd::backward(plain, v.f64({4, 5}, {1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4}));
  expect_near(autograd::grad_of(a), to_doubles(autograd::grad_of(b)), 1e-14);
}

TEST(CrossEntropy, LargeLogitsLoseNothing) {
  const Values v;
  const Tensor x = v.f32({1, 3}, {8000.0f, 8000.5f, -8000.0f});
  expect_near(ops::cross_entropy(x, v.i64({1}, {0}), Reduction::sum), {std::log1p(std::exp(0.5))}, 2e-7);
}

// Rows longer than one tile of the kernels: the largest logit may lie in any of them.
TEST(CrossEntropy, ALargeLogitAnywhereInALongRowOverflowsNothing) {
  const Values v;
  for (size_t at : {0, 700, 1299}) {
    std::vector<float> logits(1300, 0.0f);
    logits[at] = 1000.0f;
    expect_near(ops::cross_entropy(v.f32({1, 1300}, logits), v.i64({1}, {5}), Reduction::sum), {1000.0}, 0);
  }
}

TEST(CrossEntropy, NamesATargetThatIsNoClass) {
  const Values v;
  try {
    ops::cross_entropy(v.random({3, 5}, DType::f32, 1), v.i64({3}, {4, 5, 0}), Reduction::mean);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(
        std::string(e.what()).find("target 5 at position 1 is neither in [0, 5) nor the ignored index -100"),
        std::string::npos)
        << e.what();
  }
}

TEST(CrossEntropy, KeepsTheLogitsAndTwoNumbersPerRow) {
  const Values v;
  const Tensor loss = ops::cross_entropy(ops::scale(v.leaf(v.random({6, 100}, DType::f32, 3)), 2.0),
                                         v.i64({6}, {0, 1, 2, 3, 4, 5}), Reduction::mean);
  EXPECT_EQ(saved_bytes(v), 6 * 100 * 4 + 2 * 6 * 4);
}

TEST(CrossEntropy, SixteenBitLogitsGiveTheBitsOfACastAtAThirdOfItsBytes) {
  const Values v;
  const Tensor targets = v.i64({4}, {699, 0, 13, 512});
  std::vector<double> losses[2], grads[2];
  int64_t bytes[2];
  for (int k = 0; k < 2; ++k) {
    const Tensor leaf = v.leaf(v.random({4, 700}, DType::bf16, 1));
    autograd::AutocastScope autocast(DType::bf16);
    const Tensor x = ops::scale(leaf, 1.0);
    const Tensor loss = ops::cross_entropy(k ? ops::cast(x, DType::f32) : x, targets, Reduction::mean);
    EXPECT_EQ(loss.dtype(), DType::f32);
    bytes[k] = static_cast<int64_t>(v.device->arena().stats().requested);
    autograd::backward(loss);
    losses[k] = to_doubles(loss);
    grads[k] = to_doubles(autograd::grad_of(leaf));
  }
  EXPECT_EQ(losses[0], losses[1]);
  EXPECT_EQ(grads[0], grads[1]);
  EXPECT_EQ(bytes[1] - bytes[0], 4 * 700 * 4);
}

}  // namespace
}  // namespace reckon::testing
