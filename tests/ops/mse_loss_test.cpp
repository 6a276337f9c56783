// Mean squared error beyond the suites over every op: known values, gradients of both operands, long sums.
#include "ops/mse_loss/mse_loss.h"

#include <gtest/gtest.h>

#include "tests/support/op_values.h"

namespace reckon::testing {
namespace {

using ops::Reduction;

TEST(MseLoss, GivesKnownLossesAndOppositeGradients) {
  const Values v;
  const Tensor x = v.leaf(v.f64({2, 2}, {1, 2, 3, 4})), y = v.leaf(v.f64({2, 2}, {0, 2, 5, 1}));
  expect_near(ops::mse_loss(x, y, Reduction::none), {1, 0, 4, 9}, 0);
  expect_near(ops::mse_loss(x, y, Reduction::sum), {14}, 0);
  const Tensor mean = ops::mse_loss(x, y, Reduction::mean);
  expect_near(mean, {3.5}, 0);
  autograd::backward(mean, v.f64({}, {2}));
  expect_near(autograd::grad_of(x), {1, 0, -2, 3}, 0);
  expect_near(autograd::grad_of(y), {-1, 0, 2, -3}, 0);
}

TEST(MseLoss, SixteenBitOperandsGiveAFloatLoss) {
  const Values v;
  const Tensor x = v.random({3, 5}, DType::bf16, 1), y = v.random({3, 5}, DType::f16, 2);
  const Tensor loss = ops::mse_loss(x, y, Reduction::mean);
  EXPECT_EQ(loss.dtype(), DType::f32);
  EXPECT_EQ(to_doubles(loss),
            to_doubles(ops::mse_loss(ops::cast(x, DType::f32), ops::cast(y, DType::f32), Reduction::mean)));
}

TEST(MseLoss, AMillionTermsLoseNoPrecisionInFloat) {
  const Values v;
  const Tensor x = v.random({1024, 1024}, DType::f32, 1),
               zero = v.f32({1024, 1024}, std::vector<float>(1 << 20, 0.0f));
  double exact = 0;
  for (double e : to_doubles(x)) exact += e * e;
  EXPECT_NEAR(to_doubles(ops::mse_loss(x, zero, Reduction::sum))[0] / exact, 1.0, 1e-6);
}

TEST(MseLoss, RefusesShapesThatWouldBroadcast) {
  const Values v;
  EXPECT_THROW(ops::mse_loss(v.random({4, 1}, DType::f32, 1), v.random({4}, DType::f32, 1), Reduction::mean),
               Error);
}

}  // namespace
}  // namespace reckon::testing
