// The softmax family beyond the suites over every op: known values, masked entries, other axes, rounding.
#include "ops/softmax/softmax.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/sum/sum.h"
#include "ops/view/view.h"
#include "tests/support/op_values.h"

namespace reckon::testing {
namespace {

constexpr double kInf = INFINITY;

TEST(Softmax, GivesKnownValuesEvenForLargeLogits) {
  const Values v;
  for (double base : {0.0, 1000.0, -1000.0}) {
    const Tensor x = v.f64({3}, {base, base + std::log(2.0), base + std::log(4.0)});
    expect_near(ops::softmax(x), {1 / 7.0, 2 / 7.0, 4 / 7.0}, 1e-13);
    expect_near(ops::log_softmax(x), {-std::log(7.0), std::log(2 / 7.0), std::log(4 / 7.0)}, 1e-12);
    expect_near(ops::logsumexp(x), {base + std::log(7.0)}, 1e-12);
  }
}

// Rows longer than one tile of the kernels: the largest logit may lie in any of them.
TEST(Softmax, ALargeLogitAnywhereInALongRowOverflowsNothing) {
  const Values v;
  for (size_t at : {0, 700, 1299}) {
    std::vector<float> logits(1300, 0.0f);
    std::vector<double> weights(1300, 0.0), logs(1300, -1000.0);
    logits[at] = 1000.0f, weights[at] = 1.0, logs[at] = 0.0;
    const Tensor x = v.f32({1, 1300}, logits);
    for (const Tensor& t : {x, ops::cast(x, DType::f64)}) {
      expect_near(ops::softmax(t), weights, 1e-30);
      expect_near(ops::log_softmax(t), logs, 0);
      expect_near(ops::logsumexp(t), {1000.0}, 0);
    }
  }
}

TEST(Softmax, MaskedEntriesGetExactlyNoWeightAndNoGradient) {
  const Values v;
  const Tensor x = v.leaf(v.f32({2, 3}, {0, -static_cast<float>(kInf), 0, 1, 1, -static_cast<float>(kInf)}));
  const Tensor y = ops::softmax(x);
  expect_near(y, {0.5, 0, 0.5, 0.5, 0.5, 0}, 0);
  autograd::backward(y, v.f32({2, 3}, {1, 5, 2, 3, 4, 7}));
  expect_near(autograd::grad_of(x), {-0.25, 0, 0.25, -0.25, 0.25, 0}, 1e-7);
}

TEST(Softmax, ARowOfMinusInfinityIsNaNAndItsLogsumexpMinusInfinity) {
  const Values v;
  const Tensor x = v.f64({2}, {-kInf, -kInf});
  for (double p : to_doubles(ops::softmax(x))) EXPECT_TRUE(std::isnan(p));
  EXPECT_EQ(to_doubles(ops::logsumexp(x))[0], -kInf);
}

TEST(Softmax, AnotherAxisEqualsTheLastAxisOfThePermutedTensor) {
  const Values v;
  const Tensor x = v.leaf(v.random({2, 7, 3, 5}, DType::f64, 1));
  const Tensor last = ops::permute(x, {0, 2, 3, 1});
  EXPECT_EQ(to_doubles(ops::softmax(x, 1)), to_doubles(ops::permute(ops::softmax(last), {0, 3, 1, 2})));
  EXPECT_EQ(to_doubles(ops::log_softmax(x, 1)), to_doubles(ops::permute(ops::log_softmax(last), {0, 3, 1, 2})));
  const Tensor reduced = ops::logsumexp(x, 1);
  EXPECT_EQ(reduced.shape(), (Shape{2, 3, 5}));
  EXPECT_EQ(to_doubles(reduced), to_doubles(ops::logsumexp(last)));
  // The gradient arrives in x's own layout: softmax weights sum to one, so the
  // gradient sums to zero along the axis.
  autograd::backward(ops::softmax(x, 1), v.random({2, 7, 3, 5}, DType::f64, 2));
  expect_near(ops::sum(autograd::grad_of(x), {1}), std::vector<double>(30, 0.0), 1e-15);
}

TEST(Softmax, LogarithmAndLogsumexpEqualTheirCompositions) {
  const Values v;
  const Tensor a = v.leaf(v.random({4, 33}, DType::f64, 1)), b = v.leaf(v.random({4, 33}, DType::f64, 1));
  const Tensor seed = v.random({4, 33}, DType::f64, 2), row_seed = v.random({4}, DType::f64, 3);
  const Tensor fused = ops::log_softmax(a), fused_sum = ops::logsumexp(a);
  const Tensor plain = ops::log(ops::softmax(b)), plain_sum = ops::log(ops::sum(ops::exp(b), {1}));
  expect_near(fused, to_doubles(plain), 1e-13);
  expect_near(fused_sum, to_doubles(plain_sum), 1e-13);
  autograd::backward(std::vector<Tensor>{fused, fused_sum}, std::vector<Tensor>{seed, row_seed});
  autograd::backward(std::vector<Tensor>{plain, plain_sum}, std::vector<Tensor>{seed, row_seed});
  expect_near(autograd::grad_of(a), to_doubles(autograd::grad_of(b)), 1e-12);
}

TEST(Softmax, SixteenBitRowsAreRoundedOnce) {
  const Values v;
  for (DType t : {DType::bf16, DType::f16}) {
    const Tensor x = v.random({3, 700}, t, 5);
    EXPECT_EQ(to_doubles(ops::softmax(x)), to_doubles(ops::cast(ops::softmax(ops::cast(x, DType::f32)), t)));
  }
}

TEST(Softmax, KeepsItsOutputAlone) {
  const Values v;
  Tensor y;
  {
    const Tensor x = ops::scale(v.leaf(v.random({6, 24}, DType::f32, 3)), 2.0);
    y = ops::softmax(x);
  }
  EXPECT_EQ(saved_bytes(v), 6 * 24 * 4);
  EXPECT_EQ(y.storage()->savers(), 1);
}

}  // namespace
}  // namespace reckon::testing
