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
  using In = NormLinearInput;
  const int n_linears = In::n_linears(a.n_in);
  const bool layer = attrs.kind == NormKind::layer;
  const TensorArg& x = a.in[In::x];
  const auto norm = norm_of<C>(attrs.kind, x, a.in[In::norm_weight], a.in[In::norm_bias],
                               layer ? a.out[n_linears] : TensorArg{}, a.out[a.n_out - 1], attrs.eps);
  const int64_t c = x.last(), rows = x.rows();
  int64_t widest = c;
  for (int i = 0; i < n_linears; ++i) widest = a.out[i].last() > widest ? a.out[i].last() : widest;
  const int64_t tile = rows_per_tile(widest, c);
  const Matrix normed{a.workspace[1], a.in[In::weight(0)].dtype, c};
  for (int64_t row = 0; row < rows; row += tile) {
    const int64_t m = rows - row < tile ? rows - row : tile;
    norm_rows(a, norm, row, m, true, normed);
    for (int i = 0; i < n_linears; ++i)
      multiply_by_weight<C>(a, m, normed, a.in[In::weight(i)], a.in[In::bias(i)],
                            rows_of(a.out[i]).from_row(row));
  }
}

// in x, norm weight, norm bias, mean, rstd, then W_i, dy_i (a W_i whose dy_i is absent gets no gradient).
// out the wanted ones of dx, dnorm weight, dnorm bias, then dW_i, db_i.
// Workspaces: products, norm tile, dn tile.
template <class C>
inline void norm_linear_backward_kernel(KernelArgs& a) {
  a.launch(0);
  const auto& attrs = a.as<NormLinearAttrs>();
  using In = NormLinearBackwardInput;
  const int n_linears = In::n_linears(a.n_in);
  const TensorArg& x = a.in[In::x];
  const auto norm = norm_of<C>(attrs.kind, x, a.in[In::norm_weight], a.in[In::norm_bias], a.in[In::mean],
                               a.in[In::rstd], attrs.eps);
  int64_t widest = x.last();
  for (int i = 0; i < n_linears; ++i)
    widest = a.in[In::weight(i)].shape[0] > widest ? a.in[In::weight(i)].shape[0] : widest;
  const int64_t c = x.last(), rows = x.rows(), tile = rows_per_tile(widest, c);
  GradientOutputs<C> outputs(a, attrs.needs);
  using Forward = NormLinearInput;
  const TensorArg dx = outputs.take(Forward::x);
  C *dw = outputs.take_sum(Forward::norm_weight), *db = outputs.take_sum(Forward::norm_bias);
  ProductSum weights[kMaxNormLinears];
  C* biases[kMaxNormLinears];
  bool rebuild = false;
  for (int i = 0; i < n_linears; ++i) {
    weights[i] = outputs.take_product_sum(Forward::weight(i));
    biases[i] = outputs.take_sum(Forward::bias(i));
    rebuild |= weights[i].wanted();
  }
  const Matrix normed{a.workspace[1], a.in[In::weight(0)].dtype, c}, dn{a.workspace[2], kNative<C>, c};
  for (int64_t row = 0; row < rows; row += tile) {
    const int64_t m = rows - row < tile ? rows - row : tile;
    if (rebuild) norm_rows(a, norm, row, m, false, normed);
    bool started = false;
    for (int i = 0; i < n_linears; ++i) {
      const TensorArg &w = a.in[In::weight(i)], &dy = a.in[In::dout(i)];
      if (!dy.defined()) continue;
      const Matrix g = rows_of(dy).from_row(row);
      add_weight_gradient<C>(a, m, w.shape[0], c, g, normed, weights[i]);
      add_column_sums(a, m, w.shape[0], g, biases[i]);
      if (attrs.needs & kNormLinearNormInputs) {
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

RECKON_KERNEL(norm_linear)
RECKON_KERNEL(norm_linear_backward)
