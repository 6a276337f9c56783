// Vectors of one ISA level for the matrix-product kernels: loads and stores that convert bf16 and f16, partial
// ones that never touch memory past the count, and a square transpose. Included by gemm_*.cpp and *_cpu.cpp;
// all of it has internal linkage so that no code of one level can serve another.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "runtime/core/dtype.h"

#ifndef RECKON_ISA
#error "compile with -DRECKON_ISA=isa_v1, isa_v3, isa_v4 or isa_amx"
#endif

namespace reckon::ops::RECKON_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#define RECKON_VECTOR_REGISTER "v"
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#define RECKON_VECTOR_REGISTER "x"
#else
constexpr int kVectorBytes = 16;
#define RECKON_VECTOR_REGISTER "x"
#endif

using Floats = float __attribute__((vector_size(kVectorBytes)));
using Doubles = double __attribute__((vector_size(kVectorBytes)));
using Words = uint32_t __attribute__((vector_size(kVectorBytes)));
using SignedWords = int32_t __attribute__((vector_size(kVectorBytes)));
using Halves = uint16_t __attribute__((vector_size(kVectorBytes / 2)));

template <class T>
struct VectorOf;
template <>
struct VectorOf<float> {
  using type = Floats;
};
template <>
struct VectorOf<double> {
  using type = Doubles;
};
template <class T>
using Vector = typename VectorOf<T>::type;

template <class T>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

template <class V>
RECKON_INLINE V read(const void* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <class V>
RECKON_INLINE void write(void* p, V v) {
  __builtin_memcpy(p, &v, sizeof v);
}

RECKON_INLINE Floats widen(Halves h, bf16) {
  return reinterpret_cast<Floats>(__builtin_convertvector(h, Words) << 16);
}

RECKON_INLINE Halves narrow(Floats v, bf16) {
  const Words u = reinterpret_cast<Words>(v);
  const Words rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const Words quiet_nan = (u >> 16) | 0x40u;
  return __builtin_convertvector((u & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded, Halves);
}

#if defined(__AVX512F__)
RECKON_INLINE Floats widen(Halves h, f16) { return (Floats)_mm512_maskz_cvtph_ps(0xffff, (__m256i)h); }
RECKON_INLINE Halves narrow(Floats v, f16) {
  return (Halves)_mm512_maskz_cvtps_ph(0xffff, (__m512)v, _MM_FROUND_TO_NEAREST_INT);
}
#elif defined(__F16C__)
RECKON_INLINE Floats widen(Halves h, f16) { return (Floats)_mm256_cvtph_ps((__m128i)h); }
RECKON_INLINE Halves narrow(Floats v, f16) {
  return (Halves)_mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT);
}
#else
// The vector forms of f16_to_f32 and f32_to_f16 in runtime/core/dtype.h.
RECKON_INLINE Floats widen(Halves h, f16) {
  const Words u = __builtin_convertvector(h, Words);
  const Words sign = (u & 0x8000u) << 16, magnitude = u & 0x7fffu;
  const Words normal = (magnitude << 13) + (112u << 23);
  const Words special = (magnitude << 13) | 0x7f800000u;
  const Words subnormal = reinterpret_cast<Words>(
      __builtin_convertvector(reinterpret_cast<SignedWords>(magnitude), Floats) * 0x1p-24f);
  const Words value = magnitude >= 0x7c00u ? special : (magnitude < 0x0400u ? subnormal : normal);
  return reinterpret_cast<Floats>(value | sign);
}
RECKON_INLINE Halves narrow(Floats v, f16) {
  const Words u = reinterpret_cast<Words>(v);
  const Words sign = (u >> 16) & 0x8000u, a = u & 0x7fffffffu;
  const Words normal = (a + 0x0fffu + ((a >> 13) & 1u) - (112u << 23)) >> 13;
  const Words subnormal = reinterpret_cast<Words>(reinterpret_cast<Floats>(a) + 0.5f) - 0x3f000000u;
  const Words infinite = (a & 0u) | 0x7c00u, nan = (a & 0u) | 0x7e00u;
  const Words finite = a < 0x38800000u ? subnormal : normal;
  const Words value = a > 0x7f800000u ? nan : (a >= 0x477ff000u ? infinite : finite);
  return __builtin_convertvector(value | sign, Halves);
}
#endif

RECKON_INLINE Floats load(const float* p) { return read<Floats>(p); }
RECKON_INLINE Doubles load(const double* p) { return read<Doubles>(p); }
RECKON_INLINE Floats load(const bf16* p) { return widen(read<Halves>(p), bf16{}); }
RECKON_INLINE Floats load(const f16* p) { return widen(read<Halves>(p), f16{}); }
RECKON_INLINE void store(float* p, Floats v) { write(p, v); }
RECKON_INLINE void store(double* p, Doubles v) { write(p, v); }
RECKON_INLINE void store(bf16* p, Floats v) { write(p, narrow(v, bf16{})); }
RECKON_INLINE void store(f16* p, Floats v) { write(p, narrow(v, f16{})); }

// One element in the type of the sums; f16 goes through a vector so that every level has one conversion only.
RECKON_INLINE float element(float v) { return v; }
RECKON_INLINE double element(double v) { return v; }
RECKON_INLINE float element(bf16 v) { return __builtin_bit_cast(float, static_cast<uint32_t>(v.bits) << 16); }
RECKON_INLINE float element(f16 v) { return widen(Halves{v.bits}, f16{})[0]; }

#if defined(__AVX512F__)
RECKON_INLINE __mmask16 first_lanes(int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }
RECKON_INLINE Halves read_halves(const void* p, int64_t n) {
  return (Halves)_mm256_maskz_loadu_epi16(first_lanes(n), p);
}
RECKON_INLINE void write_halves(void* p, Halves v, int64_t n) {
  _mm256_mask_storeu_epi16(p, first_lanes(n), (__m256i)v);
}
RECKON_INLINE Floats load_partial(const float* p, int64_t n) {
  return (Floats)_mm512_maskz_loadu_ps(first_lanes(n), p);
}
RECKON_INLINE Doubles load_partial(const double* p, int64_t n) {
  return (Doubles)_mm512_maskz_loadu_pd(static_cast<__mmask8>(first_lanes(n)), p);
}
RECKON_INLINE Floats load_partial(const bf16* p, int64_t n) { return widen(read_halves(p, n), bf16{}); }
RECKON_INLINE Floats load_partial(const f16* p, int64_t n) { return widen(read_halves(p, n), f16{}); }
RECKON_INLINE void store_partial(float* p, Floats v, int64_t n) {
  _mm512_mask_storeu_ps(p, first_lanes(n), (__m512)v);
}
RECKON_INLINE void store_partial(double* p, Doubles v, int64_t n) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>(first_lanes(n)), (__m512d)v);
}
RECKON_INLINE void store_partial(bf16* p, Floats v, int64_t n) { write_halves(p, narrow(v, bf16{}), n); }
RECKON_INLINE void store_partial(f16* p, Floats v, int64_t n) { write_halves(p, narrow(v, f16{}), n); }
#else
template <class S>
RECKON_INLINE auto load_partial(const S* p, int64_t n) {
  S lanes[sizeof(S) == 8 ? kVectorBytes / 8 : kVectorBytes / 4] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return load(lanes);
}
template <class S, class V>
RECKON_INLINE void store_partial(S* p, V v, int64_t n) {
  S lanes[sizeof(S) == 8 ? kVectorBytes / 8 : kVectorBytes / 4];
  store(lanes, v);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
}
#endif

#if defined(__AVX512F__)
RECKON_INLINE Floats multiply_add(Floats a, Floats b, Floats c) {
  return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
RECKON_INLINE Doubles multiply_add(Doubles a, Doubles b, Doubles c) {
  return (Doubles)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
RECKON_INLINE Floats broadcast(const float* p) { return (Floats)_mm512_set1_ps(*p); }
RECKON_INLINE Doubles broadcast(const double* p) { return (Doubles)_mm512_set1_pd(*p); }
#elif defined(__FMA__)
RECKON_INLINE Floats multiply_add(Floats a, Floats b, Floats c) {
  return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
RECKON_INLINE Doubles multiply_add(Doubles a, Doubles b, Doubles c) {
  return (Doubles)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
RECKON_INLINE Floats broadcast(const float* p) { return (Floats)_mm256_broadcast_ss(p); }
RECKON_INLINE Doubles broadcast(const double* p) { return (Doubles)_mm256_broadcast_sd(p); }
#else
template <class V>
RECKON_INLINE V multiply_add(V a, V b, V c) {
  return c + a * b;
}
RECKON_INLINE Floats broadcast(const float* p) { return (Floats)_mm_set1_ps(*p); }
RECKON_INLINE Doubles broadcast(const double* p) { return (Doubles)_mm_set1_pd(*p); }
#endif

// Keeps the compiler from contracting a product with a following sum: which elements took the vector path
// depends on the tiling, and their bits must not.
template <class V>
RECKON_INLINE V rounded(V v) {
  __asm__("" : "+" RECKON_VECTOR_REGISTER(v));
  return v;
}

// lanes of a and b alternating: the lower halves, and the upper halves.
template <class V, int... I>
RECKON_INLINE V interleave_low(V a, V b) {
  constexpr int lanes = sizeof...(I);
  return __builtin_shufflevector(a, b, (I / 2 + (I % 2) * lanes)...);
}
template <class V, int... I>
RECKON_INLINE V interleave_high(V a, V b) {
  constexpr int lanes = sizeof...(I);
  return __builtin_shufflevector(a, b, (lanes / 2 + I / 2 + (I % 2) * lanes)...);
}

template <int N>
struct Interleave;
template <>
struct Interleave<2> {
  template <class V>
  static RECKON_INLINE V low(V a, V b) {
    return interleave_low<V, 0, 1>(a, b);
  }
  template <class V>
  static RECKON_INLINE V high(V a, V b) {
    return interleave_high<V, 0, 1>(a, b);
  }
};
template <>
struct Interleave<4> {
  template <class V>
  static RECKON_INLINE V low(V a, V b) {
    return interleave_low<V, 0, 1, 2, 3>(a, b);
  }
  template <class V>
  static RECKON_INLINE V high(V a, V b) {
    return interleave_high<V, 0, 1, 2, 3>(a, b);
  }
};
template <>
struct Interleave<8> {
  template <class V>
  static RECKON_INLINE V low(V a, V b) {
    return interleave_low<V, 0, 1, 2, 3, 4, 5, 6, 7>(a, b);
  }
  template <class V>
  static RECKON_INLINE V high(V a, V b) {
    return interleave_high<V, 0, 1, 2, 3, 4, 5, 6, 7>(a, b);
  }
};
template <>
struct Interleave<16> {
  template <class V>
  static RECKON_INLINE V low(V a, V b) {
    return interleave_low<V, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15>(a, b);
  }
  template <class V>
  static RECKON_INLINE V high(V a, V b) {
    return interleave_high<V, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15>(a, b);
  }
};

// Perfect-shuffle transpose: log2(N) rounds, each interleaving row i with row i + N/2.
template <int N, class V>
RECKON_INLINE void transpose(V (&rows)[N]) {
#pragma GCC unroll 4
  for (int round = 1; round < N; round *= 2) {
    V next[N];
#pragma GCC unroll 8
    for (int i = 0; i < N / 2; ++i) {
      next[2 * i] = Interleave<N>::low(rows[i], rows[i + N / 2]);
      next[2 * i + 1] = Interleave<N>::high(rows[i], rows[i + N / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i) rows[i] = next[i];
  }
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA
