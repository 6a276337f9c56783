// What the suites over tensors without elements share.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ops/fill/fill.h"
#include "ops/triangle_multiply/triangle_multiply.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {

inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN(),
                        kInf = std::numeric_limits<double>::infinity();
using V = std::vector<double>;

inline Tensor ones(Device& d, const Shape& s, DType t = DType::f32) {
  return from_doubles(d, s, t, V(static_cast<size_t>(numel(s)), 1.0));
}
inline Tensor ids(Device& d, const Shape& s) { return ones(d, s, DType::i64); }

inline void expect_values(const V& got, const V& want, const std::string& where) {
  ASSERT_EQ(got.size(), want.size()) << where;
  for (size_t i = 0; i < want.size(); ++i) {
    if (std::isnan(want[i])) {
      EXPECT_TRUE(std::isnan(got[i])) << where << " / " << i << ": " << got[i];
    } else if (std::isinf(want[i])) {
      EXPECT_EQ(got[i], want[i]) << where << " / " << i;
    } else {
      EXPECT_NEAR(got[i], want[i], 1e-5 * std::max(1.0, std::fabs(want[i]))) << where << " / " << i;
    }
  }
}

// What fresh memory will hold, so that an output that is never written shows.
inline void leave_behind(Device& d, double value) {
  for (int64_t n : {int64_t{1} << 17, int64_t{1} << 21}) ops::fill(Tensor::empty(d, {n}, DType::f32), value);
}

inline ops::TriangleMultiplyWeights triangle_weights(Device& d, int64_t c) {
  const Tensor v = ones(d, {c}), m = ones(d, {c, c});
  return {v, v, m, v, m, v, m, v, m, v, v, v, m, v, m, v};
}

}  // namespace reckon::testing
