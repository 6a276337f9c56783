// The formula with one row of logits at a time, for f64 and for the cost test.
#pragma once

#include "ops/kernel/cpu/rows.h"
#include "ops/linear_cross_entropy/linear_cross_entropy_attrs.h"

namespace reckon::ops::RECKON_ISA {
namespace {

inline int64_t counted_rows(const TensorArg& targets, int64_t ignore_index) {
  int64_t n = 0;
  for (int64_t i = 0; i < targets.numel(); ++i) n += targets.as<int64_t>()[i] != ignore_index;
  return n;
}

template <class C>
inline void row_logits(const TensorArg& x, const TensorArg& w, int64_t row, C* logits) {
  const int64_t V = w.shape[0], H = w.shape[1];
  for (int64_t j = 0; j < V; ++j) {
    C dot = C(0);
    for (int64_t l = 0; l < H; ++l) dot += x.as<C>()[row * H + l] * w.as<C>()[j * H + l];
    logits[j] = dot;
  }
}

// in x, weight, targets; out loss, statistics. Per row: 2VH in the product, V for the maximum, V and V exp, V
// for the sum, a log, 2 for the loss, 1 to add it up. Mean: 1 more.
template <class C>
inline void linear_cross_entropy_kernel(KernelArgs& a) {
  const auto& t = a.as<LinearCrossEntropyAttrs>();
  using In = LinearCrossEntropyInput;
  using Out = LinearCrossEntropyOutput;
  const TensorArg &x = a.in[In::x], &w = a.in[In::weight], &targets = a.in[In::targets],
                  &loss = a.out[Out::loss], &statistics = a.out[Out::statistics];
  const int64_t T = x.shape[0], V = w.shape[0];
  const LogitTiles tiles{T, V, w.shape[1]};
  C* logits = reinterpret_cast<C*>(a.workspace[0]);
  for (int64_t i = 0; i < 2 * tiles.row_tiles() * tiles.class_tiles() + 1; ++i) a.launch(static_cast<int>(i));
  C total = C(0);
  for (int64_t row = 0; row < T; ++row) {
    const int64_t target = targets.as<int64_t>()[row];
    statistics.as<C>()[row] = statistics.as<C>()[T + row] = C(0);
    if (target == t.ignore_index) continue;
    row_logits(x, w, row, logits);
    const C top = largest(C(-__builtin_inf()), static_cast<const C*>(logits), V);
    C sum = C(0);
    for (int64_t j = 0; j < V; ++j) sum += k_exp(logits[j] - top);
    const C log_sum = k_log(sum);
    statistics.as<C>()[row] = top, statistics.as<C>()[T + row] = log_sum;
    total += (top - logits[target]) + log_sum;
  }
  if (t.reduction == Reduction::mean) total = total / C(counted_rows(targets, t.ignore_index));
  loss.as<C>()[0] = total;
}

// in g, x, weight, targets, statistics; out those wanted of dx, dweight. Per row: 2VH for the logits, 3V and V exp, 1
// for the target, 2VH for each gradient. Mean: 1 in all.
template <class C>
inline void linear_cross_entropy_backward_kernel(KernelArgs& a) {
  const auto& t = a.as<LinearCrossEntropyAttrs>();
  using In = LinearCrossEntropyBackwardInput;
  const TensorArg &g = a.in[In::dloss], &x = a.in[In::x], &w = a.in[In::weight], &targets = a.in[In::targets],
                  &statistics = a.in[In::statistics];
  const int64_t T = x.shape[0], V = w.shape[0], H = w.shape[1];
  const LogitTiles tiles{T, V, H};
  C* logits = reinterpret_cast<C*>(a.workspace[0]);
  C* dx = t.wants_x ? a.out[0].as<C>() : nullptr;
  C* dw = t.wants_weight ? a.out[t.wants_x].as<C>() : nullptr;
  const int64_t n_launches = (2 + t.wants_x + t.wants_weight) * tiles.row_tiles() * tiles.class_tiles();
  for (int64_t i = 0; i < n_launches; ++i) a.launch(static_cast<int>(i));
  C scale = g.as<C>()[0];
  if (t.reduction == Reduction::mean) scale = scale / C(counted_rows(targets, t.ignore_index));
  for (int64_t i = 0; dx && i < T * H; ++i) dx[i] = C(0);
  for (int64_t i = 0; dw && i < V * H; ++i) dw[i] = C(0);
  for (int64_t row = 0; row < T; ++row) {
    const int64_t target = targets.as<int64_t>()[row];
    if (target == t.ignore_index) continue;
    row_logits(x, w, row, logits);
    const C top = statistics.as<C>()[row], log_sum = statistics.as<C>()[T + row];
    for (int64_t j = 0; j < V; ++j) logits[j] = k_exp((logits[j] - top) - log_sum) * scale;
    logits[target] -= scale;
    for (int64_t j = 0; j < V; ++j)
      for (int64_t l = 0; l < H; ++l) {
        if (dx) dx[row * H + l] += logits[j] * w.as<C>()[j * H + l];
        if (dw) dw[j * H + l] += logits[j] * x.as<C>()[row * H + l];
      }
  }
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA
