// Rotary embedding beyond the suites over every op: known rotations, long contexts, what it keeps.
#include "ops/rope/rope.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/binary/binary.h"
#include "ops/sum/sum.h"
#include "tests/support/op_values.h"

namespace reckon::testing {
namespace {

TEST(Rope, TurnsElementIWithElementIPlusHalfByPositionTimesItsFrequency) {
  const Values v;
  // D = 4, theta = 100: frequencies 1 and 1/10.
  const Tensor x = v.f64({1, 2, 1, 4}, {1, 2, 3, 4, 1, 2, 3, 4});
  const double a = 3.0, b = 0.3;
  expect_near(ops::rope(x, v.i64({2}, {0, 3}), 100.0),
              {1, 2, 3, 4, std::cos(a) - 3 * std::sin(a), 2 * std::cos(b) - 4 * std::sin(b),
               3 * std::cos(a) + std::sin(a), 4 * std::cos(b) + 2 * std::sin(b)},
              1e-14);
}

TEST(Rope, KeepsFloatPrecisionAtEveryQuadrantAndAtLongPositions) {
  const Values v;
  std::vector<int64_t> positions;
  for (int64_t p = 0; p < 24; ++p)
    positions.push_back(p), positions.push_back(131071 - 977 * p), positions.push_back(-p);
  const auto n = static_cast<int64_t>(positions.size());
  const Tensor ids = v.i64({n}, positions);
  const auto expected = to_doubles(ops::rope(v.random({1, n, 2, 64}, DType::f64, 1), ids, 1e6));
  EXPECT_LE(relative_error(to_doubles(ops::rope(v.random({1, n, 2, 64}, DType::f32, 1), ids, 1e6)), expected),
            3e-7);
}

TEST(Rope, ProductsDependOnTheDistanceOfPositionsOnly) {
  const Values v;
  const Tensor q = v.random({1, 1, 1, 32}, DType::f64, 1), k = v.random({1, 1, 1, 32}, DType::f64, 2);
  const auto product = [&](int64_t m, int64_t n) {
    return to_doubles(
        ops::sum_all(ops::mul(ops::rope(q, v.i64({1}, {m}), 1e4), ops::rope(k, v.i64({1}, {n}), 1e4))))[0];
  };
  EXPECT_NEAR(product(7, 3), product(1007, 1003), 1e-10);
  EXPECT_GT(std::fabs(product(7, 3) - product(8, 3)), 1e-3);
}

TEST(Rope, SharedPositionsEqualThoseRepeatedPerSequence) {
  const Values v;
  const Tensor x = v.random({2, 3, 2, 8}, DType::f32, 1);
  EXPECT_EQ(to_doubles(ops::rope(x, v.i64({3}, {4, 0, 9}), 1e4)),
            to_doubles(ops::rope(x, v.i64({2, 3}, {4, 0, 9, 4, 0, 9}), 1e4)));
}

TEST(Rope, KeepsNoActivationAndBackwardTurnsBack) {
  const Values v;
  const Tensor positions = v.i64({5}, {0, 1, 2, 3, 400});
  Tensor y;
  const Tensor leaf = v.leaf(v.random({2, 5, 3, 8}, DType::f64, 1));
  y = ops::rope(ops::scale(leaf, 1.0), positions, 1e4);
  EXPECT_EQ(saved_bytes(v), 0);
  EXPECT_EQ(positions.storage()->savers(), 1);
  // A rotation's gradient is the rotation back: seeded with its own output, it returns the input.
  autograd::backward(y, y.detached());
  expect_near(autograd::grad_of(leaf), to_doubles(leaf), 1e-14);
}

TEST(Rope, ExplainsPositionsThatDoNotFit) {
  const Values v;
  try {
    ops::rope(v.random({2, 4, 9, 8}, DType::f32, 1), v.i64({9}, std::vector<int64_t>(9, 0)), 1e4);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("is x laid out as [B, heads, S, D]?"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace reckon::testing
