// The CUDA names that the kernels use, for a host compiler: qualifiers, built-in variables, barriers, warp
// operations, atomics and intrinsics over simt/machine.h; half types and vector types come from the toolkit's
// own headers. Included by ops/kernel/gpu/device.cuh in builds without nvcc, and by nothing else.
#pragma once

#include <vector_types.h>

// The toolkit's own header has meanings for these that only nvcc can give.
#undef __global__
#undef __shared__
#undef __launch_bounds__
#define __global__
#define __shared__ static  // one block at a time; a static array also gets red zones from AddressSanitizer
#define __launch_bounds__(...)

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>
#include <vector_functions.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "simt/machine.h"

#define threadIdx (::simt::Machine::get().thread_index())
#define blockIdx (::simt::Machine::get().block_index())
#define blockDim (::simt::Machine::get().block_dim())
#define gridDim (::simt::Machine::get().grid_dim())
inline constexpr int warpSize = 32;

namespace simt {

template <class T>
uint64_t to_bits(T value) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return bits;
}

template <class T>
T from_bits(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

// The value of lane source(own lane); a negative source keeps the own one.
template <class T, class F>
T shuffle(unsigned mask, T value, int line, F source) {
  uint32_t part = 0;
  const uint64_t* left = Machine::get().exchange(mask, to_bits(value), line, &part, false);
  Unseen unseen;
  const int own = static_cast<int>(Machine::get().lane()), from = source(own);
  if (from < 0) return value;
  if (from > 31 || !(part >> from & 1)) fail_reading(own, from, line);
  return from_bits<T>(left[from]);
}

}  // namespace simt

inline void __syncthreads(int line = __builtin_LINE()) { simt::Machine::get().barrier(line); }
inline void __syncwarp(unsigned mask = ~0u, int line = __builtin_LINE()) {
  simt::Machine::get().exchange(mask, 0, line, nullptr, true);
}

template <class T>
T __shfl_sync(unsigned mask, T v, int from, int width = 32, int line = __builtin_LINE()) {
  return simt::shuffle(mask, v, line, [=](int lane) { return (lane & ~(width - 1)) + (from & (width - 1)); });
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32, int line = __builtin_LINE()) {
  return simt::shuffle(mask, v, line,
                       [=](int lane) { return (lane ^ bits) / width > lane / width ? -1 : lane ^ bits; });
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32, int line = __builtin_LINE()) {
  return simt::shuffle(mask, v, line, [=](int lane) {
    return lane % width + static_cast<int>(by) >= width ? -1 : lane + static_cast<int>(by);
  });
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32, int line = __builtin_LINE()) {
  return simt::shuffle(mask, v, line, [=](int lane) {
    return lane % width < static_cast<int>(by) ? -1 : lane - static_cast<int>(by);
  });
}
inline unsigned __ballot_sync(unsigned mask, int vote, int line = __builtin_LINE()) {
  uint32_t part = 0;
  const uint64_t* left = simt::Machine::get().exchange(mask, vote != 0, line, &part, false);
  simt::Unseen unseen;
  unsigned votes = 0;
  for (int i = 0; i < 32; ++i)
    if (part >> i & 1) votes |= static_cast<unsigned>(left[i]) << i;
  return votes;
}
inline int __any_sync(unsigned mask, int vote, int line = __builtin_LINE()) {
  return __ballot_sync(mask, vote, line) != 0;
}
inline int __all_sync(unsigned mask, int vote, int line = __builtin_LINE()) {
  return __ballot_sync(mask, !vote, line) == 0;
}
inline unsigned __activemask() { return ~0u; }

template <class T>
requires std::is_integral_v<T> T atomicAdd(T* p, T v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }
template <class T>
requires std::is_integral_v<T> T atomicMax(T* p, T v) {
  T old = __atomic_load_n(p, __ATOMIC_RELAXED);
  while (old < v && !__atomic_compare_exchange_n(p, &old, v, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return old;
}
template <class T>
requires std::is_integral_v<T> T atomicOr(T* p, T v) { return __atomic_fetch_or(p, v, __ATOMIC_RELAXED); }

inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
template <class T>
T __ldg(const T* p) {
  return *p;
}

inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float cospif(float x) { return static_cast<float>(std::cos(3.14159265358979323846 * x)); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((uint64_t{a} * b) >> 32); }
inline uint64_t __umul64hi(uint64_t a, uint64_t b) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(a) * b) >> 64);
}
// Products and sums that a compiler must not contract.
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
using std::max;
using std::min;
