// A layer or root-mean-square norm by tiles of rows, forward and backward, for ops that never keep the
// normalised rows whole. Without a weight the rows pass unchanged.
#pragma once

#include "ops/kernel/cpu/row_tiles.h"
#include "ops/kernel/plan/norm_kind.h"

namespace reckon::ops {

// What norm_rows does per row of c elements; the statistics also take one root.
//   statistics  layer: mean c + 1, variance 3c + 1, 1 / sqrt(v + eps) 2;  rms: 2c + 1 and 2
//   rows        layer: subtract, scale, weight (, bias);                  rms: scale, weight (, bias)
//   backward    layer: 6c + 2 for the two means, 7c for dx;               rms: 4c + 1 and 5c
//   parameters  weight: xh 2c (rms c) and 2c, bias: c
struct NormCost {
  NormKind kind;
  int64_t c;
  bool bias;

  constexpr int64_t statistics() const { return kind == NormKind::layer ? 4 * c + 4 : 2 * c + 3; }
  constexpr int64_t rows() const { return (kind == NormKind::layer ? 3 : 2) * c + (bias ? c : 0); }
  constexpr int64_t input_gradient() const { return kind == NormKind::layer ? 13 * c + 2 : 9 * c + 1; }
  constexpr int64_t weight_gradient() const { return (kind == NormKind::layer ? 4 : 3) * c; }
  constexpr int64_t bias_gradient() const { return c; }
  constexpr int64_t gradients(bool of_input, bool of_weight, bool of_bias) const {
    return (of_input ? input_gradient() : 0) + (of_weight ? weight_gradient() : 0) +
           (of_bias ? bias_gradient() : 0);
  }
};

namespace RECKON_ISA {
namespace {

// sum over i of f(i), in pieces of kTile for float.
template <class C, class F>
RECKON_INLINE C reduce_tile(int64_t n, C so_far, F f) {
  if constexpr (sizeof(C) == sizeof(float)) {
    C part = C(0);
#pragma omp simd reduction(+ : part)
    for (int64_t i = 0; i < n; ++i) part += f(i);
    return so_far + part;
  } else {
    for (int64_t i = 0; i < n; ++i) so_far += f(i);
    return so_far;
  }
}

template <class C>
struct NormRows {
  NormKind kind;
  TensorArg x, weight, bias;  // x [.., c] contiguous
  C* mean;                    // one per row; unused by rms
  C* rstd;
  C eps;

  RECKON_INLINE int64_t width() const { return x.last(); }
  RECKON_INLINE bool layer() const { return kind == NormKind::layer; }
  RECKON_INLINE C mean_of(int64_t row) const { return layer() ? mean[row] : C(0); }
};

// `mean`, `rstd`: undefined where there are none.
template <class C>
RECKON_INLINE NormRows<C> norm_of(NormKind kind, const TensorArg& x, const TensorArg& weight,
                                  const TensorArg& bias, const TensorArg& mean, const TensorArg& rstd,
                                  double eps) {
  return {kind, x, weight, bias, reinterpret_cast<C*>(mean.data), reinterpret_cast<C*>(rstd.data), C(eps)};
}

template <class C>
inline void find_statistics(const NormRows<C>& n, int64_t row) {
  const int64_t c = n.width();
  alignas(64) C buffer[kTile];
  C m = C(0);
  if (n.layer()) {
    for (int64_t j = 0; j < c; j += kTile) {
      const int64_t count = c - j < kTile ? c - j : kTile;
      const C* v = load_tile<C>(n.x.data, n.x.dtype, row * c + j, 1, count, buffer);
      m = reduce_tile(count, m, [&](int64_t i) { return v[i]; });
    }
    n.mean[row] = m = m / C(c);
  }
  C squares = C(0);
  for (int64_t j = 0; j < c; j += kTile) {
    const int64_t count = c - j < kTile ? c - j : kTile;
    const C* v = load_tile<C>(n.x.data, n.x.dtype, row * c + j, 1, count, buffer);
    if (n.layer()) {
      squares = reduce_tile(count, squares, [&](int64_t i) {
        const C d = v[i] - m;
        return d * d;
      });
    } else {
      squares = reduce_tile(count, squares, [&](int64_t i) { return v[i] * v[i]; });
    }
  }
  n.rstd[row] = C(1) / k_sqrt(squares / C(c) + n.eps);
}

// Rows [row0, row0 + rows) of the norm into `to`; finds their statistics first where asked.
template <class C>
inline void norm_rows(const KernelArgs& args, const NormRows<C>& n, int64_t row0, int64_t rows, bool statistics,
                      Matrix to) {
  const int64_t c = n.width();
  parallel_ranges(args, rows, (statistics ? 10 : 4) * c, [&](int64_t first, int64_t last) {
    alignas(64) C xb[kTile], wb[kTile], bb[kTile], ob[kTile];
    for (int64_t r = first; r < last; ++r) {
      const int64_t row = row0 + r;
      if (statistics && n.weight.defined()) find_statistics(n, row);
      const C m = n.weight.defined() ? n.mean_of(row) : C(0), scale = n.weight.defined() ? n.rstd[row] : C(1);
      for (int64_t j = 0; j < c; j += kTile) {
        const int64_t count = c - j < kTile ? c - j : kTile;
        const C* v = load_tile<C>(n.x.data, n.x.dtype, row * c + j, 1, count, xb);
        if (!n.weight.defined()) {
          store_tile<C>(to.data, to.dtype, r * to.ld + j, count, v);
          continue;
        }
        const C* w = load_tile<C>(n.weight.data, n.weight.dtype, j, 1, count, wb);
        if (n.layer()) {
#pragma omp simd
          for (int64_t i = 0; i < count; ++i) ob[i] = (v[i] - m) * scale * w[i];
        } else {
#pragma omp simd
          for (int64_t i = 0; i < count; ++i) ob[i] = v[i] * scale * w[i];
        }
        if (n.bias.defined()) {
          const C* b = load_tile<C>(n.bias.data, n.bias.dtype, j, 1, count, bb);
#pragma omp simd
          for (int64_t i = 0; i < count; ++i) ob[i] += b[i];
        }
        store_tile<C>(to.data, to.dtype, r * to.ld + j, count, ob);
      }
    }
  });
}

// dx of one row. With xh = (x - mean) rstd and g = dn w: dx = rstd (g - mean(g) - xh mean(g xh)), and without
// the middle term for rms.
template <class C>
inline void norm_row_gradient(const NormRows<C>& n, int64_t row, const C* dn, const TensorArg& dx) {
  const int64_t c = n.width();
  alignas(64) C xb[kTile], wb[kTile], ob[kTile];
  if (!n.weight.defined()) {
    store_tile<C>(dx.data, dx.dtype, row * c, c, dn);
    return;
  }
  const C m = n.mean_of(row), scale = n.rstd[row];
  C sum = C(0), dot = C(0);
  for (int64_t j = 0; j < c; j += kTile) {
    const int64_t count = c - j < kTile ? c - j : kTile;
    const C* v = load_tile<C>(n.x.data, n.x.dtype, row * c + j, 1, count, xb);
    const C* w = load_tile<C>(n.weight.data, n.weight.dtype, j, 1, count, wb);
    const C* d = dn + j;
    if (n.layer()) {
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) ob[i] = d[i] * w[i];
      sum = reduce_tile(count, sum, [&](int64_t i) { return ob[i]; });
      dot = reduce_tile(count, dot, [&](int64_t i) { return ob[i] * ((v[i] - m) * scale); });
    } else {
      dot = reduce_tile(count, dot, [&](int64_t i) { return d[i] * w[i] * (v[i] * scale); });
    }
  }
  if (n.layer()) sum = sum / C(c);
  dot = dot / C(c);
  for (int64_t j = 0; j < c; j += kTile) {
    const int64_t count = c - j < kTile ? c - j : kTile;
    const C* v = load_tile<C>(n.x.data, n.x.dtype, row * c + j, 1, count, xb);
    const C* w = load_tile<C>(n.weight.data, n.weight.dtype, j, 1, count, wb);
    const C* d = dn + j;
    if (n.layer()) {
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) ob[i] = scale * (d[i] * w[i] - sum - (v[i] - m) * scale * dot);
    } else {
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) ob[i] = scale * (d[i] * w[i] - v[i] * scale * dot);
    }
    store_tile<C>(dx.data, dx.dtype, row * c + j, count, ob);
  }
}

// From dn, the gradient of rows [row0, row0 + rows) of the norm's output: dx where defined, and what they add
// to the parameters' sums (null: not wanted).
template <class C>
inline void norm_rows_backward(const KernelArgs& args, const NormRows<C>& n, int64_t row0, int64_t rows,
                               const C* dn, const TensorArg& dx, C* weight_sum, C* bias_sum) {
  const int64_t c = n.width();
  if (dx.defined())
    parallel_ranges(args, rows, 13 * c, [&](int64_t first, int64_t last) {
      for (int64_t r = first; r < last; ++r) norm_row_gradient(n, row0 + r, dn + r * c, dx);
    });
  add_column_sums<C>(args, rows, c, {reinterpret_cast<std::byte*>(const_cast<C*>(dn)), kNative<C>, c},
                     bias_sum);
  if (!weight_sum) return;
  constexpr int64_t kLanes = 64;
  parallel_ranges(args, (c + kLanes - 1) / kLanes, rows * kLanes * 4, [&](int64_t first, int64_t last) {
    alignas(64) C xb[kLanes], piece[kLanes];
    for (int64_t t = first; t < last; ++t) {
      const int64_t j = t * kLanes, count = c - j < kLanes ? c - j : kLanes;
      C* to = weight_sum + j;
      if constexpr (sizeof(C) == sizeof(float)) {
        for (int64_t i = 0; i < count; ++i) piece[i] = C(0);
        to = piece;
      }
      for (int64_t r = 0; r < rows; ++r) {
        const C m = n.mean_of(row0 + r), scale = n.rstd[row0 + r];
        const C* v = load_tile<C>(n.x.data, n.x.dtype, (row0 + r) * c + j, 1, count, xb);
        const C* d = dn + r * c + j;
        if (n.layer()) {
#pragma omp simd
          for (int64_t i = 0; i < count; ++i) to[i] += d[i] * ((v[i] - m) * scale);
        } else {
#pragma omp simd
          for (int64_t i = 0; i < count; ++i) to[i] += d[i] * (v[i] * scale);
        }
      }
      if (to == piece)
        for (int64_t i = 0; i < count; ++i) weight_sum[j + i] += piece[i];
    }
  });
}

}  // namespace
}  // namespace RECKON_ISA
}  // namespace reckon::ops
