// Conversions against the definition of the formats, value by value.
#include "runtime/core/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "runtime/core/error.h"
#include "runtime/core/shape.h"

namespace reckon {
namespace {

// Nearest value of a format given by its decode function, ties to the even code; by exhaustion.
template <class Decode>
uint32_t nearest(double x, uint32_t n_codes, Decode decode) {
  uint32_t best = 0;
  double distance = INFINITY;
  for (uint32_t c = 0; c < n_codes; ++c) {
    const double v = decode(c);
    if (!std::isfinite(v)) continue;
    const double d = std::fabs(v - x);
    if (d < distance || (d == distance && c % 2 == 0)) {
      best = c;
      distance = d;
    }
  }
  return best;
}

TEST(DType, EveryHalfSurvivesTheRoundTrip) {
  for (uint32_t h = 0; h < 65536; ++h) {
    const float f = f16_to_f32(static_cast<uint16_t>(h));
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(f))));
      continue;
    }
    EXPECT_EQ(f32_to_f16(f), h);
    const float b = bf16_to_f32(static_cast<uint16_t>(h));
    if (!std::isnan(b)) {
      EXPECT_EQ(f32_to_bf16(b), h);
    }
  }
}

TEST(DType, HalfRoundsToNearestEvenBetweenNeighbours) {
  for (uint32_t h : {0u, 1u, 2u, 1022u, 1023u, 1024u, 1025u, 15360u, 31741u}) {
    const double a = f16_to_f32(static_cast<uint16_t>(h)), b = f16_to_f32(static_cast<uint16_t>(h + 1));
    if (!std::isfinite(b)) continue;
    const auto middle = static_cast<float>((a + b) / 2);
    EXPECT_EQ(f32_to_f16(middle), h % 2 == 0 ? h : h + 1) << h;
    EXPECT_EQ(f32_to_f16(std::nextafter(middle, -1e9f)), h) << h;
    EXPECT_EQ(f32_to_f16(std::nextafter(middle, 1e9f)), h + 1) << h;
  }
  EXPECT_EQ(f32_to_f16(65519.996f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(f32_to_f16(-1e30f), 0xfc00);
}

// Next to the middle between two neighbours, by less than f32 can tell: f32 lies on the middle itself.
template <class Decode, class Encode>
void expect_rounded_once(uint32_t codes, Decode decode, Encode encode) {
  for (uint32_t c = 0; c + 1 < codes; ++c) {
    const double a = decode(c), b = decode(c + 1);
    if (!std::isfinite(b)) continue;
    const double middle = (a + b) / 2;
    for (double sign : {1.0, -1.0}) {
      const uint32_t top = sign < 0 ? codes : 0;
      EXPECT_EQ(encode(sign * middle), top + (c % 2 == 0 ? c : c + 1)) << c;
      EXPECT_EQ(encode(sign * std::nextafter(middle, 0.0)), top + c) << c;
      EXPECT_EQ(encode(sign * std::nextafter(middle, INFINITY)), top + c + 1) << c;
      EXPECT_EQ(encode(sign * a), top + c) << c;
    }
  }
}

TEST(DType, F64IsRoundedOnceToEveryNarrowerType) {
  expect_rounded_once(
      0x8000, [](uint32_t c) -> double { return f16_to_f32(static_cast<uint16_t>(c)); },
      [](double v) { return f64_to_f16(v); });
  expect_rounded_once(
      0x8000, [](uint32_t c) -> double { return bf16_to_f32(static_cast<uint16_t>(c)); },
      [](double v) { return f64_to_bf16(v); });
  expect_rounded_once(
      0x80, [](uint32_t c) -> double { return f8e4m3_to_f32(static_cast<uint8_t>(c)); },
      [](double v) { return f32_to_f8e4m3(f64_to_f32_odd(v)); });
  expect_rounded_once(
      0x80, [](uint32_t c) -> double { return f8e5m2_to_f32(static_cast<uint8_t>(c)); },
      [](double v) { return f32_to_f8e5m2(f64_to_f32_odd(v)); });
  EXPECT_EQ(f64_to_f16(65519.999999999), 0x7bff);
  EXPECT_EQ(f64_to_f16(1e300), 0x7c00);
  EXPECT_EQ(f64_to_bf16(-1e300), 0xff80);
  EXPECT_EQ(f64_to_bf16(1e-300), 0);
  EXPECT_EQ(f64_to_f16(INFINITY), 0x7c00);
  EXPECT_TRUE(std::isnan(f16_to_f32(f64_to_f16(NAN))));
  EXPECT_TRUE(std::isnan(bf16_to_f32(f64_to_bf16(NAN))));
}

TEST(DType, F8TakesTheNearestCodeAndSaturatesAsDocumented) {
  for (double x = -500; x <= 500; x += 0.37) {
    const auto f = static_cast<float>(x * std::pow(2.0, static_cast<int>(std::fabs(x)) % 17 - 12));
    if (std::fabs(f) < 448) {
      const uint32_t want = nearest(std::fabs(f), 0x7f, [](uint32_t c) {
        return static_cast<double>(f8e4m3_to_f32(static_cast<uint8_t>(c)));
      });
      EXPECT_EQ(f32_to_f8e4m3(f) & 0x7f, want) << f;
    }
    const uint32_t want2 = nearest(std::fabs(f), 0x7c, [](uint32_t c) {
      return static_cast<double>(f8e5m2_to_f32(static_cast<uint8_t>(c)));
    });
    EXPECT_EQ(f32_to_f8e5m2(f) & 0x7f, want2) << f;
  }
  EXPECT_EQ(f8e4m3_to_f32(f32_to_f8e4m3(1e9f)), 448.0f);
  EXPECT_TRUE(std::isinf(f8e5m2_to_f32(f32_to_f8e5m2(1e9f))));
  EXPECT_TRUE(std::isnan(f8e4m3_to_f32(f32_to_f8e4m3(NAN))));
}

TEST(DType, PromotionKeepsTheRange) {
  EXPECT_EQ(promote(DType::bf16, DType::f16), DType::f32);
  EXPECT_EQ(promote(DType::bf16, DType::f64), DType::f64);
  EXPECT_THROW((void)promote(DType::i64, DType::f32), Error);
}

TEST(Shape, ElementCountsNeverWrap) { EXPECT_THROW((void)numel({int64_t{1} << 40, int64_t{1} << 40}), Error); }

}  // namespace
}  // namespace reckon
