// The paths of ops/kernel/gpu/walk.cuh, elementwise.cuh and strided_copy.cuh that the ops' own cases do not
// reach: odd sizes, misaligned views, mixed types, many axes, tiles.
#include "ops/kernel/gpu/elementwise.cuh"

#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/concat/concat.h"
#include "ops/copy_into/copy_into.h"
#include "ops/masked_fill/masked_fill.h"
#include "ops/swiglu/swiglu.h"
#include "tests/simt/both_devices.h"

namespace reckon::testing {
namespace {

TEST(Walk, QuotientsAreExactUpToTheLimits) {
  const auto expect = [](int64_t d, int64_t n) {
    const ops::gpu::Divisor wide(d, false);
    EXPECT_EQ(static_cast<int64_t>(wide.divide_wide(static_cast<uint64_t>(n))), n / d) << n << " / " << d;
    if (d >= int64_t{1} << 31 || n >= int64_t{1} << 31) return;
    const ops::gpu::Divisor narrow(d, true);
    EXPECT_EQ(narrow.divide_narrow(static_cast<uint32_t>(n)), n / d) << n << " / " << d;
  };
  const int64_t divisors[] = {1,
                              2,
                              3,
                              5,
                              7,
                              31,
                              32,
                              33,
                              641,
                              65535,
                              65537,
                              (1 << 30) + 1,
                              2147483647,
                              int64_t{1} << 31,
                              (int64_t{1} << 40) - 87};
  for (int64_t d : divisors) {
    for (int64_t near :
         {int64_t{0}, d, 2 * d, 1000 * d, int64_t{1} << 31, int64_t{1} << 32, int64_t{1} << 52, INT64_MAX - 3})
      for (int64_t n = near - 2; n <= near + 2; ++n)
        if (n >= 0) expect(d, n);
    const Philox random{3, static_cast<uint64_t>(d)};
    for (uint64_t i = 0; i < 1000; ++i) {
      const PhiloxBlock b = random(i);
      expect(d, b[0] >> 1);
      expect(d, static_cast<int64_t>((uint64_t{b[1]} << 32 | b[2]) >> 1));
    }
  }
}

TEST(Walk, OffsetsOfHugeTensorsNeedNoMemory) {
  const int64_t shape[4] = {5, 70000, 3, 90001};
  const int64_t strides[2][kMaxRank] = {{70000 * 3 * 90001ll, 3 * 90001, 90001, 1}, {1, 0, 5 * 90001, 5}};
  const ops::gpu::Walk<2> walk = ops::gpu::merged_walk(4, shape, strides);
  ASSERT_EQ(walk.axes, 3);  // the last two axes step as one
  EXPECT_FALSE(walk.narrow);
  const Philox random{9, 1};
  for (uint64_t k = 0; k < 1000; ++k) {
    const int64_t i = static_cast<int64_t>(uniform_below(random(k), static_cast<uint64_t>(walk.count)));
    int64_t at[2];
    walk.offsets(i, at);
    EXPECT_EQ(at[0], i);
    const int64_t inner = i % (3 * 90001), outer = i / (3 * 90001) / 70000;
    EXPECT_EQ(at[1], outer + 5 * inner);
  }
}

TEST(Elementwise, OddSizesAndMisalignedViews) {
  for (DType t : {DType::f32, DType::bf16, DType::f16})
    for (int64_t n : {0, 1, 3, 4, 31, 33, 200, 1027, 4099})
      for (int64_t from : {0, 1, 2, 4}) {
        SCOPED_TRACE(fmt::format("{} elements of {} from {}", n, name_of(t), from));
        expect_agreement([&](Device& d) -> TensorList {
          const Tensor x = normals(d, {n + 4}, t).sliced(0, from, from + n), y = normals(d, {n}, t, 1);
          return {ops::add(x, y), ops::relu(x)};
        });
      }
}

TEST(Elementwise, BroadcastsStridesAndMixedTypes) {
  const DType types[] = {DType::f32, DType::bf16, DType::f16};
  for (DType t : types)
    for (DType u : types) {
      SCOPED_TRACE(fmt::format("{} and {}", name_of(t), name_of(u)));
      expect_agreement([&](Device& d) -> TensorList {
        const Tensor x = normals(d, {6, 5, 36}, t), scalar = normals(d, {}, u, 2);
        return {ops::mul(x, normals(d, {36}, u, 1)),       // a row, in fours
                ops::mul(x, normals(d, {6, 5, 1}, u, 1)),  // a column, in fours
                ops::mul(x, normals(d, {5, 1}, u, 1)),     //
                ops::mul(x, scalar),
                ops::mul(scalar, x),                                              // one element
                ops::mul(x.sliced(2, 4, 20), normals(d, {6, 5, 16}, u, 1)),       // rows apart, aligned
                ops::mul(x.sliced(2, 3, 19), normals(d, {6, 5, 16}, u, 1)),       // rows apart, misaligned
                ops::mul(x.sliced(2, 0, 7), normals(d, {6, 5, 7}, u, 1)),         // rows that are no fours
                ops::mul(x.transposed(0, 1), normals(d, {5, 6, 36}, u, 1)),       // outer axes swapped
                ops::mul(x.transposed(1, 2), normals(d, {36, 1}, u, 1)),          // inner axes swapped
                ops::mul(normals(d, {36, 1}, t, 3), normals(d, {1, 28}, u, 1))};  // an outer product
      });
    }
}

TEST(Elementwise, EightAxes) {
  expect_agreement([](Device& d) -> TensorList {
    const Tensor x = normals(d, {2, 3, 2, 2, 3, 2, 2, 3}).permuted({7, 1, 5, 3, 4, 2, 6, 0});
    return {ops::add(x, normals(d, {3, 1, 2, 1, 3, 1, 2, 1}, DType::f32, 1)), ops::contiguous(x)};
  });
}

TEST(Elementwise, ThreeInputsAndTwoOutputsOfHalvesOfOneProduct) {
  for (int64_t width : {64, 33})
    expect_agreement([&](Device& d) -> TensorList {
      const Tensor both = normals(d, {9, 2 * width}, DType::bf16);
      return {ops::swiglu(both.sliced(1, 0, width), both.sliced(1, width, 2 * width))};
    });
}

TEST(Elementwise, MasksOfBytesAndIntegersReadAsNumbers) {
  expect_agreement([](Device& d) -> TensorList {
    const Tensor x = normals(d, {3, 5, 8});
    return {ops::masked_fill(x, normals(d, {5, 8}, DType::u8, 4), -2.5),
            ops::masked_fill(x, normals(d, {5, 1}, DType::u8, 4), -2.5),
            ops::cast(normals(d, {40}, DType::i64), DType::f32),
            ops::cast(normals(d, {7, 9}, DType::u8), DType::bf16)};
  });
}

TEST(Elementwise, NotANumberAndInfinityGoTheWayOfTheCpu) {
  std::vector<float> odd = {NAN, -NAN, INFINITY, -INFINITY, 0.0f, -0.0f, 1e-40f, -1e30f, 88.0f, -88.0f, 3e38f};
  const auto run = [&](Device& d) -> TensorList {
    const Tensor x = Tensor::from_host(d, {static_cast<int64_t>(odd.size())}, DType::f32, odd.data(),
                                       odd.size() * 4, Category::input, "odd");
    return {ops::relu(x),   ops::abs(x), ops::sigmoid(x), ops::masked_fill(x, x, 1.0),
            ops::div(x, x), ops::cos(x), ops::tanh(x)};
  };
  const auto gpu = emulated_gpu(), cpu = make_device(DeviceKind::cpu);
  const TensorList a = run(*gpu), b = run(*cpu);
  for (size_t k = 0; k < a.size(); ++k) {
    const auto got = to_doubles(a[k]), expected = to_doubles(b[k]);
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(std::isnan(got[i]), std::isnan(expected[i]))
          << k << ": " << odd[i] << " gives " << got[i] << ", not " << expected[i];
      EXPECT_TRUE(std::isnan(got[i]) || got[i] == expected[i] || std::fabs(got[i] - expected[i]) <= 2e-6)
          << k << ": " << odd[i];
    }
  }
}

TEST(Elementwise, CosineOfAnyFloat) {
  std::vector<float> x;
  const Philox random{8, 2};
  for (uint64_t i = 0; i < 4000; ++i) {
    const float v = std::bit_cast<float>(random(i)[0]);
    if (std::isfinite(v)) x.push_back(v);
  }
  for (float v :
       {0x1p26f, 0x1.fffffep26f, 0x1p27f, 0x1.000002p27f, 0x1.fffffep127f, 1.5707964f, 3.1415927f, 0.78539819f})
    x.push_back(v), x.push_back(-v);
  const auto gpu = emulated_gpu();
  const auto got = to_doubles(ops::cos(Tensor::from_host(*gpu, {static_cast<int64_t>(x.size())}, DType::f32,
                                                         x.data(), x.size() * 4, Category::input, "x")));
  for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(got[i], std::cos(static_cast<double>(x[i])), 1e-7) << x[i];
}

TEST(Cast, RoundsLikeTheCpuBetweenAllTypes) {
  std::vector<float> values;
  for (uint32_t i = 0; i < 4096; ++i) values.push_back(std::bit_cast<float>(i * 0x100401u));  // all exponents
  for (float v : {447.9f, 448.0f, 464.0f, 464.1f, 57344.0f, 61439.9f, 61440.0f, 1e9f, -1e9f, 0.0009765625f,
                  0.00146484375f})
    values.push_back(v);
  std::erase_if(values, [](float v) { return std::isnan(v); });  // the sign of a NaN is free
  const int64_t n = static_cast<int64_t>(values.size());
  for (DType t : {DType::bf16, DType::f16, DType::f64, DType::f8e4m3, DType::f8e5m2})
    expect_equal_bits(
        [&](Device& d) -> TensorList {
          const Tensor x =
              Tensor::from_host(d, {n}, DType::f32, values.data(), values.size() * 4, Category::input, "x");
          const Tensor y = ops::cast(x, t);
          if (t == DType::f64) return {y};
          return {y, ops::cast(y, DType::f32), ops::cast(y, t == DType::bf16 ? DType::f16 : DType::bf16)};
        },
        name_of(t).data());
  expect_equal_bits([&](Device& d) -> TensorList {
    std::vector<float> small;
    for (int i = -300; i < 300; ++i) small.push_back(static_cast<float>(i) * 0.75f);
    const Tensor x = Tensor::from_host(d, {600}, DType::f32, small.data(), 2400, Category::input, "x");
    return {ops::cast(x, DType::u8), ops::cast(x.sliced(0, 0, 599), DType::u8)};
  });
}

TEST(StridedCopy, WordsOfEverySizeAndTilesInBothDirections) {
  for (DType t : {DType::f32, DType::bf16, DType::i64, DType::u8})
    for (int64_t c : {1, 2, 3, 8, 48, 70})
      expect_equal_bits(
          [&](Device& d) -> TensorList {
            const Tensor x = normals(d, {5, 67, 2 * c}, t);
            return {ops::copy(x),
                    ops::contiguous(x.transposed(0, 1)),
                    ops::contiguous(x.transposed(1, 2)),
                    ops::contiguous(x.transposed(0, 2)),
                    ops::contiguous(x.permuted({2, 0, 1})),
                    ops::contiguous(x.permuted({1, 2, 0})),
                    ops::contiguous(x.sliced(2, c, 2 * c)),
                    ops::contiguous(x.sliced(2, 1, 2 * c).transposed(1, 2)),
                    ops::contiguous(x.sliced(0, 2, 3).expanded({4, 67, 2 * c}))};
          },
          name_of(t).data());
}

TEST(StridedCopy, OntoSlicesAndTransposedTargets) {
  expect_equal_bits([](Device& d) -> TensorList {
    const Tensor a = normals(d, {4, 70, 40}, DType::bf16), b = normals(d, {40, 70}, DType::f32, 1),
                 empty = normals(d, {3, 0}, DType::f32);
    ops::copy_into(a.sliced(1, 3, 68), normals(d, {4, 65, 40}, DType::bf16, 2));
    ops::copy_into(b.transposed(0, 1).sliced(0, 1, 66), normals(d, {65, 40}, DType::f32, 3));
    ops::copy_into(empty, normals(d, {0, 3}, DType::f32, 3).transposed(0, 1));
    return {a, b};
  });
}

}  // namespace
}  // namespace reckon::testing
