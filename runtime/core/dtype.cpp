#include "runtime/core/dtype.h"

#include <array>
#include <cmath>
#include <utility>

#include "runtime/core/error.h"

namespace reckon {
namespace {

constexpr std::array<std::pair<DType, std::string_view>, 8> kNames{{{DType::f32, "f32"},
                                                                    {DType::bf16, "bf16"},
                                                                    {DType::f16, "f16"},
                                                                    {DType::f64, "f64"},
                                                                    {DType::i64, "i64"},
                                                                    {DType::u8, "u8"},
                                                                    {DType::f8e4m3, "f8e4m3"},
                                                                    {DType::f8e5m2, "f8e5m2"}}};

// Rounds |value| to a format with `mantissa` bits whose smallest normal exponent is `min_exponent`.
float round_to_format(float magnitude, int mantissa, int min_exponent) {
  if (magnitude == 0.0f) return 0.0f;
  int exponent = std::ilogb(magnitude);
  if (exponent < min_exponent) exponent = min_exponent;
  const float unit = std::ldexp(1.0f, exponent - mantissa);
  return std::nearbyint(magnitude / unit) * unit;
}

uint8_t encode(float rounded, int mantissa, int bias) {
  if (rounded == 0.0f) return 0;
  const int exponent = std::ilogb(rounded);
  const int min_exponent = 1 - bias;
  if (exponent < min_exponent) return static_cast<uint8_t>(std::ldexp(rounded, mantissa - min_exponent));
  const float fraction = std::ldexp(rounded, -exponent) - 1.0f;
  return static_cast<uint8_t>(((exponent + bias) << mantissa) |
                              static_cast<int>(std::ldexp(fraction, mantissa)));
}

float decode(uint8_t magnitude, int mantissa, int bias) {
  const int exponent = magnitude >> mantissa;
  const int fraction = magnitude & ((1 << mantissa) - 1);
  if (exponent == 0) return std::ldexp(static_cast<float>(fraction), 1 - bias - mantissa);
  return std::ldexp(static_cast<float>(fraction + (1 << mantissa)), exponent - bias - mantissa);
}

}  // namespace

std::string_view name_of(DType t) {
  for (const auto& [type, name] : kNames)
    if (type == t) return name;
  return "?";
}

DType dtype_from_name(std::string_view name) {
  for (const auto& [type, known] : kNames)
    if (known == name) return type;
  raise_error(
      fmt::format("unknown dtype '{}': expected one of f32, bf16, f16, f64, i64, u8, f8e4m3, f8e5m2", name));
}

DType promote(DType a, DType b) {
  RECKON_CHECK(is_compute_type(a) && is_compute_type(b),
               "no arithmetic between {} and {}: expected two of f64, f32, bf16, f16 (cast one of them first)",
               name_of(a), name_of(b));
  if (a == b) return a;
  if (a == DType::f64 || b == DType::f64) return DType::f64;
  return DType::f32;
}

float f8e4m3_to_f32(uint8_t bits) {
  const uint8_t magnitude = bits & 0x7f;
  const float value = magnitude == 0x7f ? std::nanf("") : decode(magnitude, 3, 7);
  return (bits & 0x80) ? -value : value;
}

float f8e5m2_to_f32(uint8_t bits) {
  const uint8_t magnitude = bits & 0x7f;
  float value = decode(magnitude, 2, 15);
  if (magnitude >= 0x7c) value = magnitude == 0x7c ? INFINITY : std::nanf("");
  return (bits & 0x80) ? -value : value;
}

uint8_t f32_to_f8e4m3(float value) {
  const uint8_t sign = std::signbit(value) ? 0x80 : 0;
  if (std::isnan(value)) return sign | 0x7f;
  const float rounded = round_to_format(std::fabs(value), 3, -6);
  if (!(rounded <= 448.0f)) return sign | 0x7e;
  return sign | encode(rounded, 3, 7);
}

uint8_t f32_to_f8e5m2(float value) {
  const uint8_t sign = std::signbit(value) ? 0x80 : 0;
  if (std::isnan(value)) return sign | 0x7e;
  if (std::isinf(value)) return sign | 0x7c;
  const float rounded = round_to_format(std::fabs(value), 2, -14);
  if (!(rounded <= 57344.0f)) return sign | 0x7c;
  return sign | encode(rounded, 2, 15);
}

}  // namespace reckon
