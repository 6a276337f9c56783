// Layer norm beyond the suites over every op: known values, what it keeps, precision far from zero.
#include "ops/layer_norm/layer_norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/mean_var/mean_var.h"
#include "ops/sum/sum.h"
#include "tests/support/op_values.h"

namespace reckon::testing {
namespace {

TEST(LayerNorm, GivesTheKnownValuesOfARow) {
  const Values v;
  const Tensor x = v.f64({1, 4}, {1, 2, 3, 4});
  const double r = 1 / std::sqrt(1.25);
  expect_near(ops::layer_norm(x, {}, {}, 0), {-1.5 * r, -0.5 * r, 0.5 * r, 1.5 * r}, 1e-15);
  expect_near(ops::layer_norm(x, v.f64({4}, {1, 2, 3, 4}), v.f64({4}, {1, 0, 0, -1}), 0),
              {1 - 1.5 * r, -r, 1.5 * r, 6 * r - 1}, 1e-14);
}

TEST(LayerNorm, EqualsItsCompositionOfSmallOpsInValueAndGradient) {
  const Values v;
  Tensor in[2][3];
  Tensor out[2];
  for (int k = 0; k < 2; ++k) {
    in[k][0] = v.leaf(v.random({2, 40, 23}, DType::f64, 1));
    in[k][1] = v.leaf(v.random({23}, DType::f64, 2));
    in[k][2] = v.leaf(v.random({23}, DType::f64, 3));
  }
  out[0] = ops::layer_norm(in[0][0], in[0][1], in[0][2], 1e-5);
  const Tensor d = ops::sub(in[1][0], ops::mean(in[1][0], {-1}, true));
  const Tensor variance = ops::mean(ops::mul(d, d), {-1}, true);
  out[1] = ops::add(ops::mul(ops::div(d, ops::sqrt(ops::affine(variance, 1, 1e-5))), in[1][1]), in[1][2]);
  expect_near(out[0], to_doubles(out[1]), 1e-13);
  const Tensor seed = v.random({2, 40, 23}, DType::f64, 4);
  for (int k = 0; k < 2; ++k) autograd::backward(out[k], seed);
  for (int i = 0; i < 3; ++i)
    expect_near(autograd::grad_of(in[0][i]), to_doubles(autograd::grad_of(in[1][i])), 1e-12);
}

TEST(LayerNorm, KeepsItsPrecisionFarFromZero) {
  const Values v;
  std::vector<float> far;
  std::vector<double> exact;
  for (int i = 0; i < 64; ++i)
    far.push_back(4096.0f + 0.125f * static_cast<float>(i * i % 29)), exact.push_back(far.back());
  const auto expected = to_doubles(ops::layer_norm(v.f64({1, 64}, exact), {}, {}, 1e-5));
  EXPECT_LE(relative_error(to_doubles(ops::layer_norm(v.f32({1, 64}, far), {}, {}, 1e-5)), expected), 1e-6);
}

TEST(LayerNorm, KeepsItsInputAndTwoNumbersPerRow) {
  const Values v;
  const Tensor w = v.leaf(v.random({24}, DType::f32, 1)), b = v.leaf(v.random({24}, DType::f32, 2));
  Tensor y;
  {
    const Tensor x = ops::scale(v.leaf(v.random({6, 24}, DType::f32, 3)), 2.0);
    y = ops::layer_norm(x, w, b, 1e-5);
  }
  EXPECT_EQ(saved_bytes(v), 6 * 24 * 4 + 2 * 6 * 4);
}

TEST(LayerNorm, KeepsNothingWhenOnlyTheBiasLearns) {
  const Values v;
  const Tensor b = v.leaf(v.random({8}, DType::f64, 2));
  const Tensor y = ops::layer_norm(ops::scale(v.random({5, 8}, DType::f64, 3), 2.0), {}, b, 1e-5);
  EXPECT_EQ(saved_bytes(v), 0);
  autograd::backward(ops::sum_all(y));
  expect_near(autograd::grad_of(b), std::vector<double>(8, 5.0), 0);
}

TEST(LayerNorm, NamesTheParameterWithTheWrongShape) {
  const Values v;
  try {
    ops::layer_norm(v.random({2, 8}, DType::f32, 1), v.random({8}, DType::f32, 1), v.random({7}, DType::f32, 2),
                    1e-5);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("layer_norm's bias must have shape [8], got f32[7]"),
              std::string::npos)
        << e.what();
  }
}

}  // namespace
}  // namespace reckon::testing
