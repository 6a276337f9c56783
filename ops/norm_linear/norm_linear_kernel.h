// CPU kernels of norm_linear and its gradients: a tile of rows is normalised and multiplied while it is in the
// cache. Included by norm_linear.cpp, for f64 and for counting, and for f32 once per instruction set.
#pragma once

#include "ops/kernel/cpu/norm_rows.h"
#include "ops/norm_linear/norm_linear_attrs.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// in x, norm weight, norm bias, then W_i, b_i; out y_i, then mean (layer) and rstd.
// Workspaces: products, norm tile.
template <class C>
inline void norm_linear_kernel(KernelArgs& a) {
  a.launch(0);
  const auto& attrs = a.as<NormLinearAttrs>();
  const int n_linears = (a.n_in - 3) / 2;
  const bool layer = attrs.kind == NormKind::layer;
  const TensorArg &x = a.in[0], &rstd = a.out[a.n_out - 1];
  const NormRows<C> norm{attrs.kind,
                         x,
                         a.in[1],
                         a.in[2],
                         layer ? reinterpret_cast<C*>(a.out[n_linears].data) : nullptr,
                         reinterpret_cast<C*>(rstd.data),
                         C(attrs.eps)};
  const int64_t c = x.last(), rows = x.rows();
  int64_t widest = c;
  for (int i = 0; i < n_linears; ++i) widest = a.out[i].last() > widest ? a.out[i].last() : widest;
  const int64_t tile = rows_per_tile(widest, c);
  const Matrix normed{a.workspace[1], a.in[3].dtype, c};
  for (int64_t row = 0; row < rows; row += tile) {
    const int64_t m = rows - row < tile ? rows - row : tile;
    norm_rows(a, norm, row, m, true, normed);
    for (int i = 0; i < n_linears; ++i)
      multiply_by_weight<C>(a, m, normed, a.in[3 + 2 * i], a.in[4 + 2 * i], rows_of(a.out[i]).from_row(row));
  }
}

// in x, norm weight, norm bias, mean, rstd, then W_i, dy_i (a W_i whose dy_i is absent gets no gradient).
// out the wanted ones of dx, dnorm weight, dnorm bias, then dW_i, db_i.
// Workspaces: products, norm tile, dn tile.
template <class C>
inline void norm_linear_backward_kernel(KernelArgs& a) {
  a.launch(0);
  constexpr int kMaxLinears = 14;
  const auto& attrs = a.as<NormLinearAttrs>();
  const int n_linears = (a.n_in - 5) / 2;
  const TensorArg& x = a.in[0];
  const NormRows<C> norm{
      attrs.kind,  x, a.in[1], a.in[2], reinterpret_cast<C*>(a.in[3].data), reinterpret_cast<C*>(a.in[4].data),
      C(attrs.eps)};
  int64_t widest = x.last();
  for (int i = 0; i < n_linears; ++i)
    widest = a.in[5 + 2 * i].shape[0] > widest ? a.in[5 + 2 * i].shape[0] : widest;
  const int64_t c = x.last(), rows = x.rows(), tile = rows_per_tile(widest, c);
  GradientOutputs<C> outputs(a, attrs.needs);
  const TensorArg dx = outputs.take(0);
  C *dw = outputs.take_sum(1), *db = outputs.take_sum(2);
  ProductSum weights[kMaxLinears];
  C* biases[kMaxLinears];
  bool rebuild = false;
  for (int i = 0; i < n_linears; ++i) {
    weights[i] = outputs.take_product_sum(3 + 2 * i);
    biases[i] = outputs.take_sum(4 + 2 * i);
    rebuild |= weights[i].wanted();
  }
  const Matrix normed{a.workspace[1], a.in[5].dtype, c}, dn{a.workspace[2], kNative<C>, c};
  for (int64_t row = 0; row < rows; row += tile) {
    const int64_t m = rows - row < tile ? rows - row : tile;
    if (rebuild) norm_rows(a, norm, row, m, false, normed);
    bool started = false;
    for (int i = 0; i < n_linears; ++i) {
      const TensorArg &w = a.in[5 + 2 * i], &dy = a.in[6 + 2 * i];
      if (!dy.defined()) continue;
      const Matrix g = rows_of(dy).from_row(row);
      add_weight_gradient<C>(a, m, w.shape[0], c, g, normed, weights[i]);
      add_column_sums(a, m, w.shape[0], g, biases[i]);
      if (attrs.needs & 7u) {
        multiply_back<C>(a, m, g, w, dn, started);
        started = true;
      }
    }
    if (started) norm_rows_backward(a, norm, row, m, reinterpret_cast<const C*>(dn.data), dx, dw, db);
  }
  for (int i = 0; i < n_linears; ++i) weights[i].finish();
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA
