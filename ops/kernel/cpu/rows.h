// What row kernels share: tiles of a row, single values, and sums and maxima over a tile. In f32 these use
// vector lanes; every other scalar keeps the plain left-to-right order that the cost formulas count.
#pragma once

#include "ops/kernel/cpu/elementwise.h"

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
    // The compiler does not turn a plain maximum into lanes, because of NaN, so they are
    // spelled out; a tree ends them.
    int64_t i = 0;
    if (n >= 16) {
      alignas(64) C lane[16];
      for (int k = 0; k < 16; ++k) lane[k] = v[k];
      for (i = 16; i + 16 <= n; i += 16) {
#pragma omp simd
        for (int k = 0; k < 16; ++k) lane[k] = k_max(lane[k], v[i + k]);
      }
      for (int k = 0; k < 8; ++k) lane[k] = k_max(lane[k], lane[k + 8]);
      for (int k = 0; k < 4; ++k) lane[k] = k_max(lane[k], lane[k + 4]);
      total = k_max(total, k_max(k_max(lane[0], lane[2]), k_max(lane[1], lane[3])));
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
