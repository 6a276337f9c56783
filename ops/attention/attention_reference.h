// The formula of attention, one row of logits at a time, for f64 and for the cost test.
#pragma once

#include "ops/attention/attention_attrs.h"
#include "ops/kernel/cpu/scalar.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// Logits and mask terms of one row of keys at a time.
template <class C>
struct ReferenceRows {
  const AttentionAttrs& attrs;
  AttentionShape s;
  const TensorArg &q, &k, &mask, &bias;
  C *logits, *terms;

  static int64_t at(const TensorArg& t, int64_t b, int64_t n, int64_t h, int64_t i) {
    return (t.shape[0] == 1 ? 0 : b * t.strides[0]) + (t.shape[1] == 1 ? 0 : n * t.strides[1]) +
           h * t.strides[2] + i * t.strides[3];
  }
  void set_mask(int64_t b, int64_t n) const {
    if (!mask.defined()) return;
    for (int64_t j = 0; j < s.Lk; ++j)
      terms[j] = (C(1) - mask.as<C>()[b * mask.strides[0] + n * mask.strides[1] + j * mask.strides[2]]) *
                 C(attrs.mask_value);
  }
  void set_logits(int64_t b, int64_t n, int64_t h, int64_t i) const {
    const C* x = q.as<C>() + at(q, b, n, h, i);
    for (int64_t j = 0; j < s.visible(i); ++j) {
      const C* y = k.as<C>() + at(k, b, n, h / s.group(), j);
      C dot = C(0);
      for (int64_t d = 0; d < s.D; ++d) dot += x[d] * y[d];
      dot = dot * C(attrs.scale);
      if (mask.defined()) dot += terms[j];
      if (bias.defined()) dot += bias.as<C>()[at(bias, b, n, h, i) + j];
      logits[j] = dot;
    }
  }
};

// Per pair: 4D in products, 1 scale, 1 mask, 1 bias, 1 maximum, 1 difference, 1 sum, one exp. Per row: D
// divisions and a log. Per (b, n): 2 per key for the mask terms.
template <class C>
inline void attention_kernel(KernelArgs& a) {
  const auto& attrs = a.as<AttentionAttrs>();
  using In = AttentionInput;
  const TensorArg &q = a.in[In::q], &k = a.in[In::k], &v = a.in[In::v], &mask = a.in[In::key_mask],
                  &bias = a.in[In::bias], &o = a.out[AttentionOutput::out],
                  &statistics = a.out[AttentionOutput::statistics];
  const AttentionShape s = attention_shape(q, k, attrs.causal);
  const int64_t n_rows = s.B * s.N * s.H * s.Lq;
  C* logits = reinterpret_cast<C*>(a.workspace[0]);
  const ReferenceRows<C> rows{attrs, s, q, k, mask, bias, logits, logits + s.Lk};
  a.launch(0);
  for (int64_t b = 0; b < s.B; ++b)
    for (int64_t n = 0; n < s.N; ++n) {
      rows.set_mask(b, n);
      for (int64_t h = 0; h < s.H; ++h)
        for (int64_t i = 0; i < s.Lq; ++i) {
          rows.set_logits(b, n, h, i);
          C top = C(-__builtin_inf()), sum = C(0);
          for (int64_t j = 0; j < s.visible(i); ++j) top = k_max(top, logits[j]);
          for (int64_t j = 0; j < s.visible(i); ++j) {
            logits[j] = k_exp(logits[j] - top);
            sum += logits[j];
          }
          C* to = o.as<C>() + (((b * s.N + n) * s.Lq + i) * s.H + h) * s.D;
          for (int64_t d = 0; d < s.D; ++d) to[d] = C(0);
          for (int64_t j = 0; j < s.visible(i); ++j) {
            const C* value = v.as<C>() + rows.at(v, b, n, h / s.group(), j);
            for (int64_t d = 0; d < s.D; ++d) to[d] += logits[j] * value[d];
          }
          for (int64_t d = 0; d < s.D; ++d) to[d] = to[d] / sum;
          C* row = statistics.as<C>() + ((b * s.N + n) * s.H + h) * s.Lq + i;
          row[0] = top, row[n_rows] = k_log(sum);
        }
    }
}

template <class C>
inline void clear(const TensorArg& t) {
  if (!t.defined()) return;
  for (int64_t i = 0; i < t.numel(); ++i) t.as<C>()[i] = C(0);
}

// Per pair: 2D for the logits, 3 (4 with a mask, 5 with a bias too) to the probability and one exp; dv
// 2D; the gradient of the logits 2D + 2; dq and dk 2D each, dbias 1. Per row 2D for delta and D to
// scale dq; per key D to scale dk.
template <class C>
inline void attention_backward_kernel(KernelArgs& a) {
  const auto& w = a.as<AttentionBackwardAttrs>();
  using In = AttentionBackwardInput;
  const TensorArg &g = a.in[In::dout], &q = a.in[In::q], &k = a.in[In::k], &v = a.in[In::v],
                  &mask = a.in[In::key_mask], &bias = a.in[In::bias], &o = a.in[In::out],
                  &statistics = a.in[In::statistics];
  const AttentionShape s = attention_shape(q, k, w.causal);
  const int64_t n_rows = s.B * s.N * s.H * s.Lq;
  C* logits = reinterpret_cast<C*>(a.workspace[0]);
  const ReferenceRows<C> rows{w, s, q, k, mask, bias, logits, logits + s.Lk};
  TensorArg dq{}, dk{}, dv{}, dbias{};
  int out = 0, launch = 0;
  if (w.wants_q) dq = attention_in_order(a.out[out++], w.q_axes);
  if (w.wants_k) dk = attention_in_order(a.out[out++], w.k_axes);
  if (w.wants_v) dv = attention_in_order(a.out[out++], w.v_axes);
  if (w.wants_bias) dbias = a.out[out++];
  for (const TensorArg* t = a.out; t < a.out + out; ++t) clear<C>(*t);
  C* delta = w.wants_scores() ? reinterpret_cast<C*>(a.workspace[1]) : nullptr;
  if (delta) {
    a.launch(launch++);
    for (int64_t r = 0; r < n_rows; ++r) {
      const int64_t i = r % s.Lq, h = r / s.Lq % s.H, bn = r / s.Lq / s.H,
                    from = ((bn * s.Lq + i) * s.H + h) * s.D;
      delta[r] = C(0);
      for (int64_t d = 0; d < s.D; ++d) delta[r] += g.as<C>()[from + d] * o.as<C>()[from + d];
    }
  }
  // One pass does all here, whatever the launches of the plan.
  const AttentionPasses passes =
      attention_passes(s, w, bias.defined() ? bias.shape[0] : 1, bias.defined() ? bias.shape[1] : 1);
  if (passes.single || w.wants_k || w.wants_v) a.launch(launch++);
  if (passes.single ? passes.chunks > 0 : w.wants_q || w.wants_bias) a.launch(launch++);
  for (int64_t b = 0; b < s.B; ++b)
    for (int64_t n = 0; n < s.N; ++n) {
      rows.set_mask(b, n);
      for (int64_t h = 0; h < s.H; ++h)
        for (int64_t i = 0; i < s.Lq; ++i) {
          const int64_t row = ((b * s.N + n) * s.H + h) * s.Lq + i;
          const C* grad = g.as<C>() + (((b * s.N + n) * s.Lq + i) * s.H + h) * s.D;
          const C top = statistics.as<C>()[row], log_sum = statistics.as<C>()[n_rows + row];
          rows.set_logits(b, n, h, i);
          for (int64_t j = 0; j < s.visible(i); ++j) {
            const C p = k_exp((logits[j] - top) - log_sum);
            if (w.wants_v) {
              C* to = dv.as<C>() + rows.at(dv, b, n, h / s.group(), j);
              for (int64_t d = 0; d < s.D; ++d) to[d] += p * grad[d];
            }
            if (!delta) continue;
            const C* value = v.as<C>() + rows.at(v, b, n, h / s.group(), j);
            C dp = C(0);
            for (int64_t d = 0; d < s.D; ++d) dp += grad[d] * value[d];
            const C ds = p * (dp - delta[row]);
            if (w.wants_q) {
              const C* key = k.as<C>() + rows.at(k, b, n, h / s.group(), j);
              C* to = dq.as<C>() + rows.at(dq, b, n, h, i);
              for (int64_t d = 0; d < s.D; ++d) to[d] += ds * key[d];
            }
            if (w.wants_k) {
              const C* query = q.as<C>() + rows.at(q, b, n, h, i);
              C* to = dk.as<C>() + rows.at(dk, b, n, h / s.group(), j);
              for (int64_t d = 0; d < s.D; ++d) to[d] += ds * query[d];
            }
            if (w.wants_bias) dbias.as<C>()[rows.at(dbias, b, n, h, i) + j] += ds;
          }
        }
    }
  const C scale = C(w.scale);
  if (w.wants_q)
    for (int64_t i = 0; i < dq.numel(); ++i) dq.as<C>()[i] = scale * dq.as<C>()[i];
  if (w.wants_k)
    for (int64_t i = 0; i < dk.numel(); ++i) dk.as<C>()[i] = scale * dk.as<C>()[i];
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA
