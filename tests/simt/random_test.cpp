// Random numbers and masks are the CPU's: bit for bit where no library function is involved.
#include "ops/binary/binary.h"
#include "ops/dropout/dropout.h"
#include "ops/fill/fill.h"
#include "tests/simt/both_devices.h"

namespace reckon::testing {
namespace {

constexpr ops::DropoutKey kKey{0x0123456789abcdefull, 0xfedcba9876543210ull};

TEST(Random, DropoutHasTheMasksOfTheCpu) {
  for (int64_t n : {1, 3, 4, 5, 1023, 4099})
    expect_equal_bits([&](Device& d) -> TensorList {
      const Tensor x = normals(d, {n}), r = normals(d, {n}, DType::f32, 1);
      return {ops::dropout(x, 0.3, kKey), ops::dropout_add(r, x, 0.3, kKey)};
    });
  expect_equal_bits([](Device& d) -> TensorList {
    const Tensor x = normals(d, {7, 301}).transposed(0, 1), y = normals(d, {4, 6, 10});
    return {ops::dropout(x, 0.3, kKey), ops::dropout(y, 0.15, kKey, {0}), ops::dropout(y, 0.15, kKey, {1}),
            ops::dropout(y, 0.15, kKey, {1, 2}),
            ops::dropout_add(normals(d, {4, 6, 10}, DType::f32, 1), y, 0.15, kKey, {1})};
  });
}

TEST(Random, DropoutAddHasTheBitsOfASum) {
  const auto gpu = emulated_gpu();
  const Tensor x = normals(*gpu, {5, 333}), r = normals(*gpu, {5, 333}, DType::f32, 1);
  EXPECT_EQ(ops::dropout_add(r, x, 0.3, kKey).to_host(), ops::add(r, ops::dropout(x, 0.3, kKey)).to_host());
}

TEST(Random, UniformFillsHaveTheBitsOfTheCpu) {
  for (DType t : {DType::f32, DType::bf16, DType::f16})
    for (int64_t n : {1, 5, 1000})
      expect_equal_bits([&](Device& d) -> TensorList {
        Tensor x = Tensor::empty(d, {n}, t);
        ops::fill_random(x, ops::Distribution::uniform, 0.1, 0.7, 0x123456789abcull, 9);
        return {x};
      });
}

TEST(Random, NormalFillsDifferByTheLastPlaces) {
  for (ops::Distribution kind : {ops::Distribution::normal, ops::Distribution::truncated_normal}) {
    const auto draw = [&](Device& d) {
      Tensor x = Tensor::empty(d, {20000}, DType::f32);
      ops::fill_random(x, kind, 0.0, 1.0, 77, 3);
      return to_doubles(x);
    };
    const auto gpu = emulated_gpu(), cpu = make_device(DeviceKind::cpu);
    const auto a = draw(*gpu), b = draw(*cpu);
    // An angle of up to 2 pi is rounded to 24 bits before the CPU takes its cosine.
    for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 3e-6) << i;
  }
}

TEST(Fill, ConstantsOfEveryTypeAtAnyAddress) {
  for (DType t : {DType::f32, DType::bf16, DType::f16, DType::i64, DType::u8})
    for (int64_t from : {0, 1, 2, 3, 7})
      for (int64_t n : {0, 1, 2, 5, 17, 1000})
        expect_equal_bits([&](Device& d) -> TensorList {
          const Tensor x = normals(d, {1020}, t);
          ops::fill(x.sliced(0, from, from + n), 3.3);
          return {x};
        });
}

}  // namespace
}  // namespace reckon::testing
