// The steps of the update. Each formula has at most one product per addition, so that a compiler that contracts
// to fused multiply-adds has one way to do it, and the eager and the fused form give the same bits.
#pragma once

#include "ops/adamw/adamw_attrs.h"
#include "ops/kernel/cpu/tensor_list.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// FLOPs: 3.
template <class C>
RECKON_INLINE C lerp_to(C a, C b, C w) {
  return a + w * (b - a);
}
// FLOPs: 4.
template <class C>
RECKON_INLINE C lerp_to_square(C a, C b, C w) {
  return a + w * (b * b - a);
}
// FLOPs: 2.
template <class C>
RECKON_INLINE C scaled_sum(C a, C b, C s) {
  return a + s * b;
}
// FLOPs: 2, and a root.
template <class C>
RECKON_INLINE C root_term(C v, C f, C eps) {
  return k_sqrt(v) * f + eps;
}
// FLOPs: 3.
template <class C>
RECKON_INLINE C quotient_sum(C a, C b, C c, C s) {
  return a + s * (b / c);
}

// ---- eager: one op each; the last input is `skip` -----------------------------------------------------------

template <class C>
inline void scale_in_place_kernel(KernelArgs& a) {
  a.launch(0);
  if (is_set<C>(a.in[scale_in_place_in::skip])) return;
  const C f = C(a.as<StepAttrs>().factor);
  elementwise<C, 1, 1>(a, [f](int64_t, const C* const* in, C* const* out, int64_t n) {
    const C* x = in[0];
    C* y = out[0];
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] * f;
  });
}

template <class C, class F>
RECKON_INLINE void in_place_step(KernelArgs& a, F f) {
  a.launch(0);
  if (is_set<C>(a.in[lerp_in::skip])) return;
  elementwise<C, 2, 1>(a, [f](int64_t, const C* const* in, C* const* out, int64_t n) {
    const C *x = in[lerp_in::target], *z = in[lerp_in::to];
    C* y = out[0];
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = f(x[i], z[i]);
  });
}

template <class C>
inline void lerp_kernel(KernelArgs& a) {
  const C w = C(a.as<StepAttrs>().factor);
  in_place_step<C>(
      a, [w](C x, C z) __attribute__((always_inline)) { return lerp_to(x, z, w); });
}
template <class C>
inline void lerp_square_kernel(KernelArgs& a) {
  const C w = C(a.as<StepAttrs>().factor);
  in_place_step<C>(
      a, [w](C x, C z) __attribute__((always_inline)) { return lerp_to_square(x, z, w); });
}
template <class C>
inline void scaled_sum_kernel(KernelArgs& a) {  // not in place
  const C s = C(a.as<StepAttrs>().factor);
  map_binary<C>(
      a, [s](C x, C z) __attribute__((always_inline)) { return scaled_sum(x, z, s); });
}
// in: the updates made so far, skip; out: their number after this one, unless it is skipped, and its two factors.
template <class C>
inline void adam_factors_kernel(KernelArgs& a) {
  a.launch(0);
  const TensorArg& updates = a.in[adam_factors_in::updates];
  const double step = static_cast<double>(scalar_or<C>(updates, C(0))) + 1;
  const AdamWFactors f = a.as<AdamFactorsAttrs>().correction.at(step);
  const C made = C(step), factors[2] = {C(f.root), C(f.minus_step)};
  if (!is_set<C>(a.in[adam_factors_in::skip])) store_tile<C>(updates.data, updates.dtype, 0, 1, &made);
  store_tile<C>(a.out[1].data, a.out[1].dtype, 0, 2, factors);
}

// Element `which` of the factors, where they are given.
template <class C>
RECKON_INLINE C factor_or(const KernelArgs& a, int input, int which, double otherwise) {
  const TensorArg& t = a.in[input];
  if (!t.defined()) return C(otherwise);
  C cell;
  return *load_tile<C>(t.data, t.dtype, which, 1, 1, &cell);
}

template <class C>
inline void denominator_kernel(KernelArgs& a) {  // not in place
  const auto& t = a.as<StepAttrs>();
  const C f = factor_or<C>(a, denominator_in::factors, 0, t.factor), eps = C(t.shift);
  map_unary<C>(
      a, [ f, eps ](C v) __attribute__((always_inline)) { return root_term(v, f, eps); }, 12);
}
template <class C>
inline void add_quotient_kernel(KernelArgs& a) {
  a.launch(0);
  if (is_set<C>(a.in[add_quotient_in::skip])) return;
  const C s = factor_or<C>(a, add_quotient_in::factors, 1, a.as<StepAttrs>().factor);
  elementwise<C, 3, 1>(a, [s](int64_t, const C* const* in, C* const* out, int64_t n) {
    const C *p = in[add_quotient_in::target], *m = in[add_quotient_in::numerator],
            *d = in[add_quotient_in::denominator];
    C* y = out[0];
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = quotient_sum(p[i], m[i], d[i], s);
  });
}

// ---- fused --------------------------------------------------------------------------------------------------

// in: n params, n grads, n exp_avg, n exp_avg_sq, n updates or none, grad_scale or absent, skip or absent; out:
// params, exp_avg, exp_avg_sq, updates or none. The steps run one after the other over a tile that stays in the
// first-level cache. Workspace, where updates are counted: two factors per tensor.

template <class C>
inline void count_updates(const KernelArgs& a, const AdamWInputs& in, C* factors) {
  const bool skips = is_set<C>(a.in[in.skip()]);
  for (size_t k = 0; k < in.n_tensors; ++k) {
    const TensorArg& updates = a.in[in.updates(k)];
    const double step = static_cast<double>(scalar_or<C>(updates, C(0))) + 1;
    const AdamWFactors f = a.as<AdamWAttrs>().correction.at(step);
    const C made = C(step);
    factors[2 * k] = C(f.root);
    factors[2 * k + 1] = C(f.minus_step);
    if (!skips) store_tile<C>(updates.data, updates.dtype, 0, 1, &made);
  }
}

template <class C>
inline void adamw_all_kernel(KernelArgs& a) {
  const auto& t = a.as<AdamWAttrs>();
  const AdamWInputs in(static_cast<size_t>(a.n_in), t.counts_updates);
  C* factors = nullptr;
  if (t.counts_updates) {
    factors = reinterpret_cast<C*>(a.workspace[0]);
    a.launch(0);
    count_updates(a, in, factors);
  }
  a.launch(t.counts_updates ? 1 : 0);
  const int n_tensors = static_cast<int>(in.n_tensors);
  const TensorArg *params = a.in + in.param(0), *grads = a.in + in.grad(0), *averages = a.in + in.exp_avg(0),
                  *squares = a.in + in.exp_avg_sq(0);
  if (is_set<C>(a.in[in.skip()])) return;
  const TensorArg& scale_arg = a.in[in.grad_scale()];
  const bool scales = scale_arg.defined();
  const C g_scale = scalar_or<C>(scale_arg, C(1)), p_factor = C(t.param_factor), g_decay = C(t.grad_decay),
          w1 = C(t.weight1), w2 = C(t.weight2), eps = C(t.eps);
  for_each_chunk(a, params, n_tensors, 16, [&](int k, int64_t start, int64_t count, int64_t) {
    const C root = factors ? factors[2 * k] : C(t.factors.root),
            step = factors ? factors[2 * k + 1] : C(t.factors.minus_step);
    alignas(64) C p_cells[kTile], g_cells[kTile], m_cells[kTile], v_cells[kTile], d[kTile];
    for_each_tile(start, count, [&](int64_t at, int64_t n) {
      C* p = direct_output(params[k], at, p_cells);
      C* m = direct_output(averages[k], at, m_cells);
      C* v = direct_output(squares[k], at, v_cells);
      load_tile<C>(params[k].data, params[k].dtype, at, 1, n, p_cells);
      load_tile<C>(averages[k].data, averages[k].dtype, at, 1, n, m_cells);
      load_tile<C>(squares[k].data, squares[k].dtype, at, 1, n, v_cells);
      const C* g = load_tile<C>(grads[k].data, grads[k].dtype, at, 1, n, g_cells);
      if (scales) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) g_cells[i] = g[i] * g_scale;
        g = g_cells;
      }
      if (t.decays_grad) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) g_cells[i] = scaled_sum(g[i], p[i], g_decay);
        g = g_cells;
      }
      if (t.decays_param) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) p[i] = p[i] * p_factor;
      }
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) m[i] = lerp_to(m[i], g[i], w1);
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) v[i] = lerp_to_square(v[i], g[i], w2);
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) d[i] = root_term(v[i], root, eps);
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) p[i] = quotient_sum(p[i], m[i], d[i], step);
      store_tile<C>(params[k].data, params[k].dtype, at, n, p);
      store_tile<C>(averages[k].data, averages[k].dtype, at, n, m);
      store_tile<C>(squares[k].data, squares[k].dtype, at, n, v);
    });
  });
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(scale_in_place)
RECKON_KERNEL(lerp)
RECKON_KERNEL(lerp_square)
RECKON_KERNEL(scaled_sum)
RECKON_KERNEL(adam_factors)
RECKON_KERNEL(denominator)
RECKON_KERNEL(add_quotient)
RECKON_KERNEL(adamw_all)
