// CPU kernels of layer_norm and its gradients. Included by layer_norm.cpp, for f64 and for counting, and
// for f32 once per instruction set.
#pragma once

#include "ops/kernel/cpu/rows.h"
#include "ops/layer_norm/layer_norm_attrs.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// in x, weight?, bias?; out y, mean, rstd. Per row: c + 1 for the mean, 3c for the squares, 3 and a root for
// rstd, 2c for the normalised row, c each for weight and bias. Two passes, because the difference of mean
// squares would cancel.
template <class C>
inline void layer_norm_kernel(KernelArgs& a) {
  a.launch(0);
  const TensorArg &x = a.in[layer_norm_in::x], &w = a.in[layer_norm_in::weight], &b = a.in[layer_norm_in::bias],
                  &y = a.out[0];
  const int64_t c = x.last(), rows = x.rows();
  const C eps = C(a.as<LayerNormAttrs>().eps);
  parallel_ranges(a, rows, 8 * c, [&](int64_t first, int64_t last) {
    alignas(64) C xb[kTile], pb[kTile], yb[kTile];
    for (int64_t row = first; row < last; ++row) {
      C sum = C(0), squares = C(0);
      for (int64_t j = 0; j < c; j += kTile) {
        const int64_t n = tile_count(c, j);
        const C* v = load_tile<C>(x.data, x.dtype, row * c + j, 1, n, xb);
        sum = add_up(
            sum, n, [v](int64_t i) __attribute__((always_inline)) { return v[i]; });
      }
      const C mean = sum / C(c);
      for (int64_t j = 0; j < c; j += kTile) {
        const int64_t n = tile_count(c, j);
        const C* v = load_tile<C>(x.data, x.dtype, row * c + j, 1, n, xb);
        squares = add_up(
            squares, n, [ v, mean ](int64_t i) __attribute__((always_inline)) {
              const C d = v[i] - mean;
              return d * d;
            });
      }
      const C rstd = C(1) / k_sqrt(squares / C(c) + eps);
      store_one<C>(a.out[1], row, mean);
      store_one<C>(a.out[2], row, rstd);
      for (int64_t j = 0; j < c; j += kTile) {
        const int64_t n = tile_count(c, j);
        const C* v = load_tile<C>(x.data, x.dtype, row * c + j, 1, n, xb);
        C* o = direct_output(y, row * c + j, yb);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) o[i] = (v[i] - mean) * rstd;
        if (w.defined()) {
          const C* s = load_tile<C>(w.data, w.dtype, j, 1, n, pb);
#pragma omp simd
          for (int64_t i = 0; i < n; ++i) o[i] *= s[i];
        }
        if (b.defined()) {
          const C* s = load_tile<C>(b.data, b.dtype, j, 1, n, pb);
#pragma omp simd
          for (int64_t i = 0; i < n; ++i) o[i] += s[i];
        }
        store_tile<C>(y.data, y.dtype, row * c + j, n, o);
      }
    }
  });
}

// dx of one row. With d = x - mean, u = g weight and r = rstd:
//   dx = r u - d r^3 mean(u d) - r mean(u)
template <class C>
inline void layer_norm_dx_row(const KernelArgs& a, const TensorArg& dx, int64_t row, C mean, C rstd) {
  const TensorArg &g = a.in[layer_norm_backward_in::g], &x = a.in[layer_norm_backward_in::x],
                  &w = a.in[layer_norm_backward_in::weight];
  const int64_t c = x.last();
  alignas(64) C gb[kTile], xb[kTile], wb[kTile], ob[kTile];
  C sum_u = C(0), sum_ud = C(0);
  for (int64_t j = 0; j < c; j += kTile) {
    const int64_t n = tile_count(c, j);
    const C* gv = load_tile<C>(g.data, g.dtype, row * c + j, 1, n, gb);
    const C* xv = load_tile<C>(x.data, x.dtype, row * c + j, 1, n, xb);
    const C* u = gv;
    if (w.defined()) {
      const C* wv = load_tile<C>(w.data, w.dtype, j, 1, n, wb);
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) ob[i] = gv[i] * wv[i];
      u = ob;
    }
    sum_u = add_up(
        sum_u, n, [u](int64_t i) __attribute__((always_inline)) { return u[i]; });
    sum_ud = add_up(
        sum_ud, n, [ u, xv, mean ](int64_t i) __attribute__((always_inline)) { return u[i] * (xv[i] - mean); });
  }
  const C shift = sum_u / C(c) * rstd;
  const C slope = sum_ud / C(c) * rstd * rstd * rstd;
  for (int64_t j = 0; j < c; j += kTile) {
    const int64_t n = tile_count(c, j);
    const C* gv = load_tile<C>(g.data, g.dtype, row * c + j, 1, n, gb);
    const C* xv = load_tile<C>(x.data, x.dtype, row * c + j, 1, n, xb);
    C* o = direct_output(dx, row * c + j, ob);
    if (w.defined()) {
      const C* wv = load_tile<C>(w.data, w.dtype, j, 1, n, wb);
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) o[i] = rstd * (gv[i] * wv[i]) - (xv[i] - mean) * slope - shift;
    } else {
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) o[i] = rstd * gv[i] - (xv[i] - mean) * slope - shift;
    }
    store_tile<C>(dx.data, dx.dtype, row * c + j, n, o);
  }
}

// in g, x, weight?, mean, rstd; out dx, dweight, dbias as asked for; workspace: sums [pieces, dweight and
// dbias, c]. The f32 kernel sums the parameter gradients piece by piece of the rows and then over the pieces;
// the plain one in one piece.
template <class C>
inline void layer_norm_backward_kernel(KernelArgs& a) {
  constexpr bool plain = sizeof(C) != sizeof(float);
  const auto& t = a.as<LayerNormBackwardAttrs>();
  const TensorArg &g = a.in[layer_norm_backward_in::g], &x = a.in[layer_norm_backward_in::x],
                  &mean = a.in[layer_norm_backward_in::mean], &rstd = a.in[layer_norm_backward_in::rstd];
  const int64_t c = x.last(), rows = x.rows();
  const int n_sums = t.dweight + t.dbias;
  const int64_t piece = plain ? (rows > 0 ? rows : 1) : layer_norm_piece(rows);
  const int64_t pieces = (rows + piece - 1) / piece;
  C* sums = n_sums ? reinterpret_cast<C*>(a.workspace[0]) : nullptr;
  a.launch(0);
  parallel_ranges(a, pieces, piece * 14 * c, [&](int64_t first, int64_t last) {
    alignas(64) C gb[kTile], xb[kTile];
    for (int64_t p = first; p < last; ++p) {
      C* own = sums + p * n_sums * c;
      for (int64_t i = 0; i < n_sums * c; ++i) own[i] = C(0);
      const int64_t end = (p + 1) * piece < rows ? (p + 1) * piece : rows;
      for (int64_t row = p * piece; row < end; ++row) {
        const C m = load_one<C>(mean, row), r = load_one<C>(rstd, row);
        if (t.dx) layer_norm_dx_row<C>(a, a.out[0], row, m, r);
        for (int64_t j = 0; n_sums && j < c; j += kTile) {
          const int64_t n = tile_count(c, j);
          const C* gv = load_tile<C>(g.data, g.dtype, row * c + j, 1, n, gb);
          if (t.dweight) {
            const C* xv = load_tile<C>(x.data, x.dtype, row * c + j, 1, n, xb);
            C* s = own + j;
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) s[i] += gv[i] * ((xv[i] - m) * r);
          }
          if (t.dbias) {
            C* s = own + t.dweight * c + j;
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) s[i] += gv[i];
          }
        }
      }
    }
  });
  if (!n_sums) return;
  a.launch(1);
  for (int k = 0; k < n_sums; ++k) {
    const TensorArg& to = a.out[t.dx + k];
    for (int64_t j = 0; j < c; j += kTile) {
      const int64_t n = tile_count(c, j);
      alignas(64) C total[kTile];
      for (int64_t i = 0; i < n; ++i) total[i] = pieces > 0 ? sums[k * c + j + i] : C(0);
      for (int64_t p = 1; p < pieces; ++p) {
        const C* s = sums + (p * n_sums + k) * c + j;
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) total[i] += s[i];
      }
      store_tile<C>(to.data, to.dtype, j, n, total);
    }
  }
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(layer_norm)
RECKON_KERNEL(layer_norm_backward)
