// Casts beyond the suites over every op: how often they round.
#include "ops/cast/cast.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/fill/fill.h"
#include "ops/view/view.h"
#include "runtime/cpu/isa.h"
#include "tests/support/op_values.h"

namespace reckon::testing {
namespace {

// By way of f32 each of these is a tie, which goes to the even neighbour below.
TEST(Cast, RoundsOnceFromWhateverType) {
  for (int level = 0; level <= static_cast<int>(machine_isa_level()); ++level) {
    Values v;
    v.device = make_device(DeviceKind::cpu, 2, level);
    const Tensor x = v.f64({2, 3}, {1 + 0x1p-8 + 0x1p-40, -1 - 0x1p-8 - 0x1p-40, 1 + 0x1p-8 - 0x1p-40,
                                    1 + 0x1p-11 + 0x1p-40, 65519.999999999, 0x1p-25 + 0x1p-60});
    const std::vector<double> b = to_doubles(ops::cast(x, DType::bf16)),
                              f = to_doubles(ops::cast(x, DType::f16));
    EXPECT_EQ(b[0], 1 + 0x1p-7);
    EXPECT_EQ(b[1], -1 - 0x1p-7);
    EXPECT_EQ(b[2], 1);
    EXPECT_EQ(f[3], 1 + 0x1p-10);
    EXPECT_EQ(f[4], 65504);
    EXPECT_EQ(f[5], 0x1p-24);
    EXPECT_EQ(to_doubles(ops::cast(ops::transpose(x, 0, 1), DType::bf16))[0], 1 + 0x1p-7);
    const TensorList list{x};
    EXPECT_EQ(to_doubles(ops::cast_all(list, DType::bf16)[0])[0], 1 + 0x1p-7);
    EXPECT_EQ(to_doubles(ops::full(*v.device, {1}, DType::bf16, 1 + 0x1p-8 + 0x1p-40))[0], 1 + 0x1p-7);
    EXPECT_EQ(to_doubles(ops::full(*v.device, {1}, DType::f16, 1 + 0x1p-11 + 0x1p-40))[0], 1 + 0x1p-10);
    const double eight[] = {1 + 0x1p-4 + 0x1p-40, 1 + 0x1p-3 + 0x1p-40};
    const Tensor y = v.f64({2}, {eight[0], eight[1]});
    EXPECT_EQ(to_doubles(ops::cast(ops::cast(y, DType::f8e4m3), DType::f32))[0], 1 + 0x1p-3);
    EXPECT_EQ(to_doubles(ops::cast(ops::cast(y, DType::f8e5m2), DType::f32))[1], 1 + 0x1p-2);
    const int64_t large = (int64_t{1} << 40) + (int64_t{1} << 32) + 1;
    const Tensor integers = v.i64({2}, {large, -large});
    EXPECT_EQ(to_doubles(ops::cast(integers, DType::bf16)),
              (std::vector<double>{0x1p40 + 0x1p33, -0x1p40 - 0x1p33}));
    EXPECT_EQ(to_doubles(ops::cast(integers, DType::f32))[0], 0x1p40 + 0x1p32);
  }
}

// The gradient of a cast comes back in the input's type, rounded once too.
TEST(Cast, TheGradientOfANarrowInputIsRoundedOnce) {
  const Values v;
  Tensor x = v.random({1}, DType::bf16, 1);
  autograd::set_requires_grad(x);
  autograd::backward(ops::cast(x, DType::f64), v.f64({1}, {1 + 0x1p-8 + 0x1p-40}));
  EXPECT_EQ(to_doubles(autograd::grad_of(x))[0], 1 + 0x1p-7);
}

}  // namespace
}  // namespace reckon::testing
