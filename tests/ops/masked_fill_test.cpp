// Masked fill beyond the suites over every op: byte masks, infinities, what it keeps.
#include "ops/masked_fill/masked_fill.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/binary/binary.h"
#include "ops/softmax/softmax.h"
#include "tests/support/op_values.h"

namespace reckon::testing {
namespace {

TEST(MaskedFill, FillsWhereAByteOrFloatMaskIsNotZeroInEveryType) {
  const Values v;
  for (DType t : {DType::f32, DType::bf16, DType::f16, DType::f64}) {
    const Tensor x = ops::cast(v.f32({2, 3}, {1, 2, 3, 4, 5, 6}), t);
    for (const Tensor& mask : {v.u8({3}, {0, 1, 255}), v.f32({3}, {0, 1, 0.5f}), v.f64({3}, {0, 1, -2})}) {
      const Tensor y = ops::masked_fill(x, mask, -7.5);
      EXPECT_EQ(y.dtype(), t);
      expect_near(y, {1, -7.5, -7.5, 4, -7.5, -7.5}, 0);
    }
  }
}

TEST(MaskedFill, StopsGradientsExactlyWhereItFilled) {
  const Values v;
  const Tensor x = v.leaf(v.f32({2, 2}, {1, NAN, 3, 4}));
  const Tensor y = ops::masked_fill(x, v.u8({2, 2}, {0, 1, 0, 1}), -INFINITY);
  autograd::backward(ops::softmax(y), v.f32({2, 2}, {1, 2, 3, 4}));
  expect_near(y, {1, -INFINITY, 3, -INFINITY}, 0);
  expect_near(autograd::grad_of(x), {0, 0, 0, 0}, 0);
}

TEST(MaskedFill, KeepsTheMaskAlone) {
  const Values v;
  const Tensor mask = v.u8({6, 1}, {0, 1, 0, 1, 0, 1});
  const Tensor y = ops::masked_fill(ops::scale(v.leaf(v.random({6, 24}, DType::f32, 1)), 2.0), mask, 0);
  EXPECT_EQ(saved_bytes(v), 0);
  EXPECT_EQ(mask.storage()->savers(), 1);
}

TEST(MaskedFill, RefusesAMaskThatWouldEnlargeTheInput) {
  const Values v;
  EXPECT_THROW(ops::masked_fill(v.random({3}, DType::f32, 1), v.u8({2, 3}, {0, 0, 0, 0, 0, 0}), 0), Error);
}

}  // namespace
}  // namespace reckon::testing
