// CPU kernels of rms_norm and its gradients. Included by rms_norm.cpp, for f64 and for counting, and
// for f32 once per instruction set.
#pragma once

#include "ops/kernel/cpu/elementwise.h"
#include "ops/rms_norm/rms_norm_attrs.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// in x, w; out y, rstd. Per row: 2c for the squares, 3 and a root for rstd, 2c for y.
template <class C>
inline void rms_norm_kernel(KernelArgs& a) {
  a.launch(0);
  const TensorArg &x = a.in[rms_norm_in::x], &w = a.in[rms_norm_in::weight], &y = a.out[0], &rstd = a.out[1];
  const int64_t c = x.last(), rows = x.rows();
  const C eps = C(a.as<RmsNormAttrs>().eps);
  parallel_ranges(a, rows, 6 * c, [&](int64_t first, int64_t last) {
    alignas(64) C xb[kTile], wb[kTile], yb[kTile];
    for (int64_t row = first; row < last; ++row) {
      C sum = C(0);
      for (int64_t j = 0; j < c; j += kTile) {
        const int64_t n = c - j < kTile ? c - j : kTile;
        const C* v = load_tile<C>(x.data, x.dtype, row * c + j, 1, n, xb);
        if constexpr (sizeof(C) == sizeof(float)) {
          C part = C(0);
#pragma omp simd reduction(+ : part)
          for (int64_t i = 0; i < n; ++i) part += v[i] * v[i];
          sum += part;
        } else {
          for (int64_t i = 0; i < n; ++i) sum += v[i] * v[i];
        }
      }
      const C r = C(1) / k_sqrt(sum / C(c) + eps);
      store_tile<C>(rstd.data, rstd.dtype, row, 1, &r);
      for (int64_t j = 0; j < c; j += kTile) {
        const int64_t n = c - j < kTile ? c - j : kTile;
        const C* v = load_tile<C>(x.data, x.dtype, row * c + j, 1, n, xb);
        const C* s = load_tile<C>(w.data, w.dtype, j, 1, n, wb);
        C* o = direct_output(y, row * c + j, yb);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) o[i] = s[i] * (v[i] * r);
        store_tile<C>(y.data, y.dtype, row * c + j, n, o);
      }
    }
  });
}

// in g, x, w, rstd; out dx [rows, c], dw [c].
// With xh = x r: dx = r (g w - xh mean(g w xh)), dw = sum over rows of g xh.
template <class C>
inline void rms_norm_backward_kernel(KernelArgs& a) {
  const TensorArg &g = a.in[rms_norm_backward_in::g], &x = a.in[rms_norm_backward_in::x],
                  &w = a.in[rms_norm_backward_in::weight], &rstd = a.in[rms_norm_backward_in::rstd],
                  &dx = a.out[0], &dw = a.out[1];
  const int64_t c = x.last(), rows = x.rows();
  a.launch(0);  // dx, row by row
  parallel_ranges(a, rows, 10 * c, [&](int64_t first, int64_t last) {
    alignas(64) C gb[kTile], xb[kTile], wb[kTile], ob[kTile];
    for (int64_t row = first; row < last; ++row) {
      C r_cell;
      const C r = *load_tile<C>(rstd.data, rstd.dtype, row, 1, 1, &r_cell);
      C dot = C(0);
      for (int64_t j = 0; j < c; j += kTile) {
        const int64_t n = c - j < kTile ? c - j : kTile;
        const C* gv = load_tile<C>(g.data, g.dtype, row * c + j, 1, n, gb);
        const C* xv = load_tile<C>(x.data, x.dtype, row * c + j, 1, n, xb);
        const C* wv = load_tile<C>(w.data, w.dtype, j, 1, n, wb);
        if constexpr (sizeof(C) == sizeof(float)) {
          C part = C(0);
#pragma omp simd reduction(+ : part)
          for (int64_t i = 0; i < n; ++i) part += gv[i] * wv[i] * xv[i];
          dot += part;
        } else {
          for (int64_t i = 0; i < n; ++i) dot += gv[i] * wv[i] * xv[i];
        }
      }
      const C k = dot * r * r / C(c);
      for (int64_t j = 0; j < c; j += kTile) {
        const int64_t n = c - j < kTile ? c - j : kTile;
        const C* gv = load_tile<C>(g.data, g.dtype, row * c + j, 1, n, gb);
        const C* xv = load_tile<C>(x.data, x.dtype, row * c + j, 1, n, xb);
        const C* wv = load_tile<C>(w.data, w.dtype, j, 1, n, wb);
        C* o = direct_output(dx, row * c + j, ob);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) o[i] = r * (gv[i] * wv[i] - xv[i] * k);
        store_tile<C>(dx.data, dx.dtype, row * c + j, n, o);
      }
    }
  });
  a.launch(1);  // dw, column tile by column tile: the order of the rows never depends on the threads
  constexpr int64_t kLanes = 64;
  constexpr int64_t kPiece = 256;  // rows added up before they join the total: it bounds the rounding of f32
  parallel_ranges(a, (c + kLanes - 1) / kLanes, rows * kLanes * 3, [&](int64_t first, int64_t last) {
    alignas(64) C gb[kTile], xb[kTile], piece[kLanes], total[kLanes];
    for (int64_t t = first; t < last; ++t) {
      const int64_t j = t * kLanes, n = c - j < kLanes ? c - j : kLanes;
      for (int64_t i = 0; i < n; ++i) total[i] = piece[i] = C(0);
      for (int64_t row = 0; row < rows; ++row) {
        C r_cell;
        const C r = *load_tile<C>(rstd.data, rstd.dtype, row, 1, 1, &r_cell);
        const C* gv = load_tile<C>(g.data, g.dtype, row * c + j, 1, n, gb);
        const C* xv = load_tile<C>(x.data, x.dtype, row * c + j, 1, n, xb);
        C* to = sizeof(C) == sizeof(float) ? piece : total;
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) to[i] += gv[i] * (xv[i] * r);
        if constexpr (sizeof(C) == sizeof(float)) {
          if (row % kPiece == kPiece - 1 || row + 1 == rows)
            for (int64_t i = 0; i < n; ++i) total[i] += piece[i], piece[i] = C(0);
        }
      }
      store_tile<C>(dw.data, dw.dtype, j, n, total);
    }
  });
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(rms_norm)
RECKON_KERNEL(rms_norm_backward)
