// Scalars that kernels compute in: float, double, and Counted, which counts what the arithmetic costs. Included
// once per instruction set, so everything sits in RECKON_ISA's namespace. Operands convert on load and store.
#pragma once

#include <cmath>
#include <cstdint>

#include "runtime/core/dtype.h"

namespace reckon::ops {

// A double that counts. Same size as a double, so f64 tensors can be read as Counted.
struct Counted {
  double v;
  static thread_local int64_t n_flops;    // + - * / max min
  static thread_local int64_t n_special;  // exp log sqrt tanh erf sin cos

  Counted() = default;
  Counted(double x) : v(x) {}
  Counted(float x) : v(x) {}
  Counted(int x) : v(x) {}
  Counted(int64_t x) : v(static_cast<double>(x)) {}
  explicit operator double() const { return v; }
  explicit operator float() const { return static_cast<float>(v); }
  static Counted counted(double x) { return ++n_flops, Counted(x); }
  static Counted special(double x) { return ++n_special, Counted(x); }
  friend Counted operator+(Counted a, Counted b) { return counted(a.v + b.v); }
  friend Counted operator-(Counted a, Counted b) { return counted(a.v - b.v); }
  friend Counted operator*(Counted a, Counted b) { return counted(a.v * b.v); }
  friend Counted operator/(Counted a, Counted b) { return counted(a.v / b.v); }
  friend Counted operator-(Counted a) { return Counted(-a.v); }  // a change of sign is free
  Counted& operator+=(Counted o) { return *this = *this + o; }
  Counted& operator-=(Counted o) { return *this = *this - o; }
  Counted& operator*=(Counted o) { return *this = *this * o; }
  friend bool operator<(Counted a, Counted b) { return a.v < b.v; }
  friend bool operator>(Counted a, Counted b) { return a.v > b.v; }
  friend bool operator==(Counted a, Counted b) { return a.v == b.v; }
};
static_assert(sizeof(Counted) == sizeof(double));

namespace RECKON_ISA {
namespace {

// ---- float: branch-free forms that vectorise ----------------------------------------------------------------

// exp(x) by range reduction to [-ln2/2, ln2/2] and a degree-6 polynomial; relative error below 2e-7 where the
// result is a normal number, a unit of the subnormal ones below; NaN stays NaN. Past both ends of the clamp the
// scaling itself gives 0 and infinity.
RECKON_INLINE float k_exp(float x) {
  const float clamped = x < -104.0f ? -104.0f : (x > 89.0f ? 89.0f : x);
  // Adding 1.5 * 2^23 leaves the nearest integer in the low mantissa bits: rounding without a library call.
  const float n = (clamped * 1.44269504088896f + 12582912.0f) - 12582912.0f;
  const float r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const int32_t e = static_cast<int32_t>(n);
  // 2^n in two factors, which for n in [-150, 128] are both normal numbers; one rounding, by the last product.
  const int32_t half = e >> 1;
  const float s1 = __builtin_bit_cast(float, (half + 127) << 23);
  const float s2 = __builtin_bit_cast(float, (e - half + 127) << 23);
  return p * s1 * s2;
}

// From exp(-|x|), which never overflows: exp(x) for large negative x, not 0.
RECKON_INLINE float k_sigmoid(float x) {
  const float e = k_exp(-__builtin_fabsf(x));
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

RECKON_INLINE float k_tanh(float x) {
  // Near zero the exponential form cancels; a short odd series is exact there to float precision.
  const float a = __builtin_fabsf(x);
  const float e = k_exp(-2.0f * a);
  const float big = (1.0f - e) / (1.0f + e);
  const float x2 = x * x;
  const float small =
      a * (1.0f + x2 * (-0.33333333f + x2 * (0.13333333f + x2 * (-0.053968254f + x2 * 0.021869488f))));
  const float t = a < 0.3f ? small : big;
  return __builtin_copysignf(t, x);
}

// erf by its integral's rational approximation (Abramowitz and Stegun 7.1.26 has 1.5e-7 absolute error); a
// series keeps relative precision near zero.
RECKON_INLINE float k_erf(float x) {
  const float a = __builtin_fabsf(x);
  const float t = 1.0f / (1.0f + 0.3275911f * a);
  const float poly =
      t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
  const float big = 1.0f - poly * k_exp(-a * a);
  const float x2 = x * x;
  const float small =
      a *
      (1.12837917f +
       x2 * (-0.37612639f +
             x2 * (0.11283792f + x2 * (-0.026866171f +
                                       x2 * (0.0052239776f + x2 * (-0.00085483270f + x2 * 0.00012055333f))))));
  return __builtin_copysignf(a < 0.7f ? small : big, x);
}

RECKON_INLINE float k_log(float x) { return __builtin_logf(x); }
RECKON_INLINE float k_sqrt(float x) { return __builtin_sqrtf(x); }
RECKON_INLINE float k_sin(float x) { return __builtin_sinf(x); }
RECKON_INLINE float k_cos(float x) { return __builtin_cosf(x); }
// Of two numbers the larger one; b where either is NaN, so k_max(constant, x) keeps a NaN in x.
RECKON_INLINE float k_max(float a, float b) { return a > b ? a : b; }

// ---- double: the C library ----------------------------------------------------------------------------------

RECKON_INLINE double k_exp(double x) { return __builtin_exp(x); }
RECKON_INLINE double k_sigmoid(double x) {
  const double e = __builtin_exp(-__builtin_fabs(x));
  return (x < 0.0 ? e : 1.0) / (1.0 + e);
}
RECKON_INLINE double k_tanh(double x) { return __builtin_tanh(x); }
RECKON_INLINE double k_erf(double x) { return __builtin_erf(x); }
RECKON_INLINE double k_log(double x) { return __builtin_log(x); }
RECKON_INLINE double k_sqrt(double x) { return __builtin_sqrt(x); }
RECKON_INLINE double k_sin(double x) { return __builtin_sin(x); }
RECKON_INLINE double k_cos(double x) { return __builtin_cos(x); }
RECKON_INLINE double k_max(double a, double b) { return a > b ? a : b; }

// ---- Counted: the same, and what each operation costs -------------------------------------------------------

RECKON_INLINE Counted k_exp(Counted x) { return Counted::special(__builtin_exp(x.v)); }
// A sigmoid is one exp, one addition, one division.
RECKON_INLINE Counted k_sigmoid(Counted x) {
  const Counted e = k_exp(Counted(-__builtin_fabs(x.v)));
  return (x.v < 0.0 ? e : Counted(1.0)) / (Counted(1.0) + e);
}
RECKON_INLINE Counted k_tanh(Counted x) { return Counted::special(__builtin_tanh(x.v)); }
RECKON_INLINE Counted k_erf(Counted x) { return Counted::special(__builtin_erf(x.v)); }
RECKON_INLINE Counted k_log(Counted x) { return Counted::special(__builtin_log(x.v)); }
RECKON_INLINE Counted k_sqrt(Counted x) { return Counted::special(__builtin_sqrt(x.v)); }
RECKON_INLINE Counted k_sin(Counted x) { return Counted::special(__builtin_sin(x.v)); }
RECKON_INLINE Counted k_cos(Counted x) { return Counted::special(__builtin_cos(x.v)); }
RECKON_INLINE Counted k_max(Counted a, Counted b) { return Counted::counted(a.v > b.v ? a.v : b.v); }

// ---- to 16 bits, rounding once ------------------------------------------------------------------------------

RECKON_INLINE uint16_t bf16_bits(float v) { return f32_to_bf16(v); }
RECKON_INLINE uint16_t bf16_bits(double v) { return f64_to_bf16(v); }
RECKON_INLINE uint16_t bf16_bits(Counted v) { return f64_to_bf16(v.v); }
RECKON_INLINE uint16_t f16_bits(float v) { return f32_to_f16(v); }
RECKON_INLINE uint16_t f16_bits(double v) { return f64_to_f16(v); }
RECKON_INLINE uint16_t f16_bits(Counted v) { return f64_to_f16(v.v); }

// ---- loads and stores ---------------------------------------------------------------------------------------

RECKON_INLINE float load(const float& s) { return s; }
RECKON_INLINE float load(const bf16& s) { return bf16_to_f32(s.bits); }
RECKON_INLINE float load(const f16& s) { return f16_to_f32(s.bits); }
RECKON_INLINE double load(const double& s) { return s; }
RECKON_INLINE Counted load(const Counted& s) { return s; }
RECKON_INLINE void store(float& d, float v) { d = v; }
RECKON_INLINE void store(bf16& d, float v) { d.bits = f32_to_bf16(v); }
RECKON_INLINE void store(f16& d, float v) { d.bits = f32_to_f16(v); }
RECKON_INLINE void store(double& d, double v) { d = v; }
RECKON_INLINE void store(Counted& d, Counted v) { d = v; }

}  // namespace
}  // namespace RECKON_ISA
}  // namespace reckon::ops
