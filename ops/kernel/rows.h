// What row kernels share: tiles of a row, single values, and sums and maxima over a tile. In f32 these use
// vector lanes; every other scalar keeps the plain left-to-right order that the cost formulas count.
#pragma once

#include "ops/kernel/elementwise.h"

namespace reckon::ops::RECKON_ISA {
namespace {

RECKON_INLINE int64_t tile_count(int64_t width, int64_t start) {
  return width - start < kTile ? width - start : kTile;
}

template <class C>
RECKON_INLINE C load_one(const TensorArg& t, int64_t i) {
  C cell;
  return *load_tile<C>(t.data, t.dtype, i, 1, 1, &cell);
}

template <class C>
RECKON_INLINE void store_one(const TensorArg& t, int64_t i, C value) {
  store_tile<C>(t.data, t.dtype, i, 1, &value);
}

// total + f(0) + .. + f(n - 1)
template <class C, class F>
RECKON_INLINE C add_up(C total, int64_t n, F f) {
  if constexpr (sizeof(C) == sizeof(float)) {
    C part = C(0);
#pragma omp simd reduction(+ : part)
    for (int64_t i = 0; i < n; ++i) part += f(i);
    return total + part;
  } else {
    for (int64_t i = 0; i < n; ++i) total += f(i);
    return total;
  }
}

// max(total, v[0], .., v[n - 1])
template <class C>
RECKON_INLINE C largest(C total, const C* v, int64_t n) {
  if constexpr (sizeof(C) == sizeof(float)) {
    constexpr int kLanes =
        32;  // the compiler does not turn a plain maximum into lanes, so they are spelled out
    int64_t i = 0;
    if (n >= kLanes) {
      alignas(64) C lane[kLanes];
      for (int k = 0; k < kLanes; ++k) lane[k] = v[k];
      for (i = kLanes; i + kLanes <= n; i += kLanes) {
#pragma omp simd
        for (int k = 0; k < kLanes; ++k) lane[k] = lane[k] > v[i + k] ? lane[k] : v[i + k];
      }
      for (int k = 0; k < kLanes; ++k) total = k_max(total, lane[k]);
    }
    for (; i < n; ++i) total = k_max(total, v[i]);
    return total;
  } else {
    for (int64_t i = 0; i < n; ++i) total = k_max(total, v[i]);
    return total;
  }
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA
