// Element types, their sizes and exact conversions (round to nearest, ties to even). The 8-bit types are
// storage types: they hold values and convert, no op computes in them.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

// Kernels are compiled for several instruction sets; what they share must never become a symbol of its own.
#if defined(__CUDACC__)
#define RECKON_INLINE __host__ __device__ __forceinline__
#else
#define RECKON_INLINE __attribute__((always_inline)) inline
#endif

namespace reckon {

enum class DType : uint8_t { f32, bf16, f16, f64, i64, u8, f8e4m3, f8e5m2 };

RECKON_INLINE constexpr size_t size_of(DType t) {
  switch (t) {
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::f32:
      return 4;
    case DType::bf16:
    case DType::f16:
      return 2;
    case DType::u8:
    case DType::f8e4m3:
    case DType::f8e5m2:
      return 1;
  }
  return 0;
}

constexpr bool is_floating(DType t) { return t != DType::i64 && t != DType::u8; }
constexpr bool is_compute_type(DType t) {
  return t == DType::f32 || t == DType::bf16 || t == DType::f16 || t == DType::f64;
}

std::string_view name_of(DType t);
DType dtype_from_name(std::string_view name);  // Error on an unknown name, listing the known ones

// The type that holds both without loss of range: f64 > f32 > (bf16, f16); bf16 with f16 gives f32.
DType promote(DType a, DType b);

RECKON_INLINE constexpr float bf16_to_f32(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

RECKON_INLINE constexpr uint16_t f32_to_bf16(float value) {
  uint32_t u = std::bit_cast<uint32_t>(value);
  if ((u & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((u >> 16) | 0x40u);  // quiet NaN
  return static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

// Branch-free on the common path so that loops over it vectorise.
RECKON_INLINE constexpr float f16_to_f32(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(h & 0x7fffu);
  const float normal = std::bit_cast<float>((magnitude << 13) + (112u << 23));
  const float special = std::bit_cast<float>((magnitude << 13) | 0x7f800000u);
  const float subnormal = static_cast<float>(magnitude) * 0x1p-24f;
  const float value = magnitude >= 0x7c00u ? special : (magnitude < 0x0400u ? subnormal : normal);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | sign);
}

RECKON_INLINE constexpr uint16_t f32_to_f16(float value) {
  const uint32_t u = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (u >> 16) & 0x8000u;
  const uint32_t a = u & 0x7fffffffu;
  if (a > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);   // NaN
  if (a >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // rounds to infinity
  if (a < 0x38800000u) {                                               // subnormal or zero
    // Adding 0.5 puts the value's unit of 2^-24 into the last mantissa bit, so the FPU rounds ties to even.
    const float shifted = std::bit_cast<float>(a) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u));
  }
  const uint32_t rounded = a + 0x0fffu + ((a >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded - (112u << 23)) >> 13));
}

// f64 to a narrower format by way of f32 would round twice. This f32 is truncated, with its last bit set where
// anything was cut off; rounded once more it gives what the f64 itself rounds to.
RECKON_INLINE constexpr float f64_to_f32_odd(double value) {
  const float nearest = static_cast<float>(value);
  const auto back = static_cast<double>(nearest);
  const uint32_t bits = std::bit_cast<uint32_t>(nearest);
  if (back == value || value != value || (bits & 1u)) return nearest;
  const bool beyond = (back > value) == (value > 0);  // further from 0 than the value
  return std::bit_cast<float>(beyond ? bits - 1 : bits + 1);
}
RECKON_INLINE constexpr uint16_t f64_to_bf16(double value) { return f32_to_bf16(f64_to_f32_odd(value)); }
RECKON_INLINE constexpr uint16_t f64_to_f16(double value) { return f32_to_f16(f64_to_f32_odd(value)); }

// e4m3 (no infinity, NaN is 0x7f, largest value 448) and e5m2 (IEEE-like). Out-of-range values saturate to the
// largest finite value in e4m3 and become infinity in e5m2; NaN stays NaN.
float f8e4m3_to_f32(uint8_t bits);
float f8e5m2_to_f32(uint8_t bits);
uint8_t f32_to_f8e4m3(float value);
uint8_t f32_to_f8e5m2(float value);

struct bf16 {
  uint16_t bits;
};
struct f16 {
  uint16_t bits;
};

RECKON_INLINE constexpr float to_f32(float v) { return v; }
RECKON_INLINE constexpr float to_f32(bf16 v) { return bf16_to_f32(v.bits); }
RECKON_INLINE constexpr float to_f32(f16 v) { return f16_to_f32(v.bits); }

}  // namespace reckon
