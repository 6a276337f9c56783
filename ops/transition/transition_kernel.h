// CPU kernels of the transitions and their gradients, by tiles of rows. Included by transition.cpp, for f64 and
// for counting, and for f32 once per instruction set.
#pragma once

#include "ops/kernel/cpu/norm_rows.h"
#include "ops/transition/transition_attrs.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// in x, ln weight, ln bias, w1, b1, w2, b2; out y, [hidden], mean, rstd.
// Workspaces: products, norm tile, hidden tile (where it is not kept).
template <class C>
inline void relu_transition_kernel(KernelArgs& a) {
  a.launch(0);
  using In = ReluTransitionInput;
  const TensorArg &x = a.in[In::x], &w1 = a.in[In::w1], &w2 = a.in[In::w2], &y = a.out[0];
  const bool keeps = a.n_out == 4;
  const auto norm = norm_of<C>(NormKind::layer, x, a.in[In::ln_weight], a.in[In::ln_bias], a.out[a.n_out - 2],
                               a.out[a.n_out - 1], a.as<TransitionAttrs>().eps);
  const int64_t c = x.last(), rows = x.rows(), h = w1.shape[0],
                tile = rows_per_tile(h > c ? h : c, h > c ? c : h);
  const Matrix normed{a.workspace[1], w1.dtype, c};
  for (int64_t row = 0; row < rows; row += tile) {
    const int64_t m = rows - row < tile ? rows - row : tile;
    norm_rows(a, norm, row, m, true, normed);
    const Matrix hidden = keeps ? rows_of(a.out[ReluTransitionOutput::hidden]).from_row(row)
                                : Matrix{a.workspace[2], w1.dtype, h};
    multiply_by_weight<C>(a, m, normed, w1, a.in[In::b1], hidden);
    map_rows<C, 1, 1>(a, m, h, {hidden}, {hidden}, 1, [](const C* const* v, C* const* o, int64_t n) {
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) o[0][i] = C(0) > v[0][i] ? C(0) : v[0][i];
    });
    multiply_by_weight<C>(a, m, hidden, w2, a.in[In::b2], rows_of(y).from_row(row));
  }
}

// in dy, x, ln weight, ln bias, mean, rstd, hidden, w1, w2; out the wanted gradients of the seven inputs.
// Workspaces: products, norm tile, dn tile, hidden gradient tile.
template <class C>
inline void relu_transition_backward_kernel(KernelArgs& a) {
  a.launch(0);
  const auto& attrs = a.as<TransitionAttrs>();
  using In = ReluTransitionBackwardInput;
  using Forward = ReluTransitionInput;
  const TensorArg &dy = a.in[In::dout], &x = a.in[In::x], &w1 = a.in[In::w1], &w2 = a.in[In::w2];
  const auto norm = norm_of<C>(NormKind::layer, x, a.in[In::ln_weight], a.in[In::ln_bias], a.in[In::mean],
                               a.in[In::rstd], attrs.eps);
  const int64_t c = x.last(), rows = x.rows(), h = w1.shape[0], out = w2.shape[0],
                tile = rows_per_tile(h > c ? h : c, h > c ? c : h);
  GradientOutputs<C> outputs(a, attrs.needs);
  const TensorArg dx = outputs.take(Forward::x);
  C *dg = outputs.take_sum(Forward::ln_weight), *db = outputs.take_sum(Forward::ln_bias);
  ProductSum dw1 = outputs.take_product_sum(Forward::w1);
  C* db1 = outputs.take_sum(Forward::b1);
  ProductSum dw2 = outputs.take_product_sum(Forward::w2);
  C* db2 = outputs.take_sum(Forward::b2);
  const Matrix normed{a.workspace[1], w1.dtype, c}, dn{a.workspace[2], kNative<C>, c},
      dh{a.workspace[3], w1.dtype, h};
  for (int64_t row = 0; row < rows; row += tile) {
    const int64_t m = rows - row < tile ? rows - row : tile;
    const Matrix g = rows_of(dy).from_row(row), hidden = rows_of(a.in[In::hidden]).from_row(row);
    add_column_sums(a, m, out, g, db2);
    add_weight_gradient<C>(a, m, out, h, g, hidden, dw2);
    if (!(attrs.needs & kTransitionHiddenInputs)) continue;
    multiply_back<C>(a, m, g, w2, dh, false);
    map_rows<C, 2, 1>(a, m, h, {dh, hidden}, {dh}, 1, [](const C* const* v, C* const* o, int64_t n) {
#pragma omp simd
      for (int64_t i = 0; i < n; ++i)
        o[0][i] = v[1][i] > C(0) ? v[0][i] : (v[1][i] == v[1][i] ? C(0) : v[1][i]);
    });
    add_column_sums(a, m, h, dh, db1);
    if (dw1.wanted()) {
      norm_rows(a, norm, row, m, false, normed);
      add_weight_gradient<C>(a, m, h, c, dh, normed, dw1);
    }
    if (!(attrs.needs & kTransitionNormInputs)) continue;
    multiply_back<C>(a, m, dh, w1, dn, false);
    norm_rows_backward(a, norm, row, m, reinterpret_cast<const C*>(dn.data), dx, dg, db);
  }
  for (const ProductSum* s : {&dw1, &dw2}) s->finish();
}

// in x, ln weight, ln bias, w_a, w_b, w_o; out y, [A, B], [mean, rstd where there is a norm].
// Workspaces: products, norm tile, product tile, A and B tiles (where they are not kept).
template <class C>
inline void swiglu_transition_kernel(KernelArgs& a) {
  a.launch(0);
  using In = SwigluTransitionInput;
  const TensorArg &x = a.in[In::x], &wa = a.in[In::w_a], &wb = a.in[In::w_b], &wo = a.in[In::w_o],
                  &y = a.out[0];
  const bool normalised = a.in[In::ln_weight].defined(), keeps = a.n_out - (normalised ? 2 : 0) == 3;
  const auto norm = norm_of<C>(NormKind::layer, x, a.in[In::ln_weight], a.in[In::ln_bias],
                               normalised ? a.out[a.n_out - 2] : TensorArg{},
                               normalised ? a.out[a.n_out - 1] : TensorArg{}, a.as<TransitionAttrs>().eps);
  const int64_t c = x.last(), rows = x.rows(), h = wa.shape[0],
                tile = rows_per_tile(h > c ? h : c, h > c ? c : h);
  const bool direct = !normalised && x.dtype == wa.dtype;
  const Matrix gated{a.workspace[2], wa.dtype, h};
  for (int64_t row = 0; row < rows; row += tile) {
    const int64_t m = rows - row < tile ? rows - row : tile;
    const Matrix normed = direct ? rows_of(x).from_row(row) : Matrix{a.workspace[1], wa.dtype, c};
    if (!direct) norm_rows(a, norm, row, m, true, normed);
    const Matrix pa =
        keeps ? rows_of(a.out[SwigluTransitionOutput::a]).from_row(row) : Matrix{a.workspace[3], wa.dtype, h};
    const Matrix pb =
        keeps ? rows_of(a.out[SwigluTransitionOutput::b]).from_row(row)
              : Matrix{element_at(a.workspace[3], wa.dtype, padded_elements((rows < tile ? rows : tile) * h)),
                       wa.dtype, h};
    multiply_by_weight<C>(a, m, normed, wa, {}, pa);
    multiply_by_weight<C>(a, m, normed, wb, {}, pb);
    map_rows<C, 2, 1>(a, m, h, {pa, pb}, {gated}, 12, [](const C* const* v, C* const* o, int64_t n) {
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) o[0][i] = v[0][i] * k_sigmoid(v[0][i]) * v[1][i];
    });
    multiply_by_weight<C>(a, m, gated, wo, {}, rows_of(y).from_row(row));
  }
}

// in dy, x, ln weight, ln bias, mean, rstd, A, B, w_a, w_b, w_o; out the wanted gradients of the six inputs.
// Workspaces: products, norm tile, dn tile, product tile, dA and dB tiles. Per hidden element, with s =
// sigmoid(A): silu = A s, product = silu B, dB = dp silu, dA = dp B (s + silu (1 - s)): 10 and one exp.
template <class C>
inline void swiglu_transition_backward_kernel(KernelArgs& a) {
  a.launch(0);
  const auto& attrs = a.as<TransitionAttrs>();
  using In = SwigluTransitionBackwardInput;
  using Forward = SwigluTransitionInput;
  const TensorArg &dy = a.in[In::dout], &x = a.in[In::x], &wa = a.in[In::w_a], &wb = a.in[In::w_b],
                  &wo = a.in[In::w_o];
  const auto norm = norm_of<C>(NormKind::layer, x, a.in[In::ln_weight], a.in[In::ln_bias], a.in[In::mean],
                               a.in[In::rstd], attrs.eps);
  const int64_t c = x.last(), rows = x.rows(), h = wa.shape[0], out = wo.shape[0],
                tile = rows_per_tile(h > c ? h : c, h > c ? c : h);
  GradientOutputs<C> outputs(a, attrs.needs);
  const TensorArg dx = outputs.take(Forward::x);
  C *dg = outputs.take_sum(Forward::ln_weight), *db = outputs.take_sum(Forward::ln_bias);
  ProductSum dwa = outputs.take_product_sum(Forward::w_a), dwb = outputs.take_product_sum(Forward::w_b),
             dwo = outputs.take_product_sum(Forward::w_o);
  const bool direct = !norm.weight.defined() && x.dtype == wa.dtype;
  const Matrix dn{a.workspace[2], kNative<C>, c}, gated{a.workspace[3], wa.dtype, h},
      da{a.workspace[4], wa.dtype, h}, dp{a.workspace[5], wa.dtype, h};
  for (int64_t row = 0; row < rows; row += tile) {
    const int64_t m = rows - row < tile ? rows - row : tile;
    const Matrix g = rows_of(dy).from_row(row), pa = rows_of(a.in[In::a]).from_row(row),
                 pb = rows_of(a.in[In::b]).from_row(row);
    multiply_back<C>(a, m, g, wo, dp, false);
    map_rows<C, 3, 3>(a, m, h, {pa, pb, dp}, {gated, da, dp}, 24,
                      [](const C* const* v, C* const* o, int64_t n) {
                        const C *pa_v = v[0], *pb_v = v[1], *dp_v = v[2];
                        C *gated_o = o[0], *da_o = o[1], *db_o = o[2];
#pragma omp simd
                        for (int64_t i = 0; i < n; ++i) {
                          const C s = k_sigmoid(pa_v[i]), silu = pa_v[i] * s;
                          gated_o[i] = silu * pb_v[i];
                          db_o[i] = dp_v[i] * silu;
                          da_o[i] = dp_v[i] * pb_v[i] * (s + silu * (C(1) - s));
                        }
                      });
    add_weight_gradient<C>(a, m, out, h, g, gated, dwo);
    const Matrix normed = direct ? rows_of(x).from_row(row) : Matrix{a.workspace[1], wa.dtype, c};
    if (!direct && (dwa.wanted() || dwb.wanted())) norm_rows(a, norm, row, m, false, normed);
    add_weight_gradient<C>(a, m, h, c, da, normed, dwa);
    add_weight_gradient<C>(a, m, h, c, dp, normed, dwb);
    if (!(attrs.needs & kTransitionNormInputs)) continue;
    multiply_back<C>(a, m, da, wa, dn, false);
    multiply_back<C>(a, m, dp, wb, dn, true);
    norm_rows_backward(a, norm, row, m, reinterpret_cast<const C*>(dn.data), dx, dg, db);
  }
  for (const ProductSum* s : {&dwa, &dwb, &dwo}) s->finish();
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(relu_transition)
RECKON_KERNEL(relu_transition_backward)
RECKON_KERNEL(swiglu_transition)
RECKON_KERNEL(swiglu_transition_backward)
