// CPU kernel of sum. Included by sum.cpp, for f64 and for counting, and for f32 once per instruction set. The
// order of the additions follows from the shape, never from the number of threads.
#pragma once

#include "ops/kernel/cpu/elementwise.h"
#include "ops/sum/sum_attrs.h"
#include "ops/sum/sum_axes.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// Adds up pieces of 256 before adding them to the total: the rounding error of a long f32 sum grows with the
// number of pieces, not of elements. The other scalars keep the plain sum.
template <class C>
inline constexpr int64_t kPiece = sizeof(C) == sizeof(float) ? 256 : int64_t{1} << 62;

// Result lane j: sum over all of `reduced` of x[offset + j * stride].
template <class C>
inline void sum_lanes(const TensorArg& x, int64_t offset, int64_t stride, int64_t lanes, const SumAxes& reduced,
                      C* out) {
  alignas(64) C buffer[kTile], piece[kTile];
  for (int64_t j = 0; j < lanes; ++j) out[j] = C(0);
  const int64_t n = reduced.count();
  for (int64_t start = 0; start < n; start += kPiece<C>) {
    const int64_t end = n - start < kPiece<C> ? n : start + kPiece<C>;
    const bool single = start == 0 && end == n;
    C* to = single ? out : piece;
    if (!single)
      for (int64_t j = 0; j < lanes; ++j) piece[j] = C(0);
    for (int64_t r = start; r < end; ++r) {
      const C* v = load_tile<C>(x.data, x.dtype, offset + reduced.offset(r), stride, lanes, buffer);
#pragma omp simd
      for (int64_t j = 0; j < lanes; ++j) to[j] += v[j];
    }
    if (!single)
      for (int64_t j = 0; j < lanes; ++j) out[j] += piece[j];
  }
}

template <class C>
inline C sum_run(const TensorArg& x, int64_t offset, int64_t stride, int64_t n, C total = C(0)) {
  alignas(64) C buffer[kTile];
  for (int64_t start = 0; start < n; start += kTile) {
    const int64_t count = n - start < kTile ? n - start : kTile;
    const C* v = load_tile<C>(x.data, x.dtype, offset + start * stride, stride, count, buffer);
    C part = C(0);
    if constexpr (sizeof(C) == sizeof(float)) {
#pragma omp simd reduction(+ : part)
      for (int64_t i = 0; i < count; ++i) part += v[i];
      total += part;
    } else {
      for (int64_t i = 0; i < count; ++i) total += v[i];
    }
  }
  return total;
}

template <class C>
inline void sum_kernel(KernelArgs& a) {
  a.launch(0);
  const TensorArg &x = a.in[0], &y = a.out[0];
  const auto& attrs = a.as<SumAttrs>();
  const uint32_t axes = attrs.axes;
  const C divisor = C(attrs.divisor);
  const SumWalk walk = sum_walk(x.rank, x.shape, x.strides, axes);
  const SumAxes &kept = walk.kept, &reduced = walk.reduced;
  const int64_t n_out = walk.n_out, n_reduced = walk.n_reduced;
  if (n_out == 0) return;
  const int64_t kept_inner = kept.n ? kept.stride[kept.n - 1] : 0;
  const int64_t reduced_inner = reduced.n ? reduced.stride[reduced.n - 1] : 0;

  if (walk.along) {  // one run after the other per output
    const int64_t run = reduced.extent[reduced.n - 1];
    SumAxes outer = reduced;
    --outer.n;
    const int64_t n_runs = outer.count();
    parallel_ranges(a, n_out, n_reduced, [&](int64_t first, int64_t last) {
      for (int64_t o = first; o < last; ++o) {
        const int64_t base = kept.offset(o);
        C total = C(0);
        if (n_runs == 1) {
          total = sum_run<C>(x, base, reduced_inner, run);
        } else {
          for (int64_t r = 0; r < n_runs; ++r)
            total = sum_run<C>(x, base + outer.offset(r), reduced_inner, run, total);
        }
        if (attrs.divides()) total = total / divisor;
        store_tile<C>(y.data, y.dtype, o, 1, &total);
      }
    });
    return;
  }
  // The fastest axis stays: sum whole tiles of it.
  const int64_t inner = kept.n ? kept.extent[kept.n - 1] : 1;
  SumAxes outer = kept;
  if (outer.n) --outer.n;
  constexpr int64_t kLanes = 64;
  const int64_t tiles = (inner + kLanes - 1) / kLanes, n_outer = outer.count();
  parallel_ranges(a, n_outer * tiles, n_reduced * kLanes, [&](int64_t first, int64_t last) {
    alignas(64) C acc[kTile];
    for (int64_t t = first; t < last; ++t) {
      const int64_t o = t / tiles, column = t % tiles * kLanes;
      const int64_t lanes = inner - column < kLanes ? inner - column : kLanes;
      sum_lanes<C>(x, outer.offset(o) + column * kept_inner, kept_inner, lanes, reduced, acc);
      for (int64_t j = 0; attrs.divides() && j < lanes; ++j) acc[j] = acc[j] / divisor;
      store_tile<C>(y.data, y.dtype, o * inner + column, lanes, acc);
    }
  });
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(sum)
