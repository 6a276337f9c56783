// CPU kernels of cross_entropy and its gradient, a row of logits at a time. Included by cross_entropy.cpp,
// for f64 and for counting, and for f32 once per instruction set. They do not check targets:
// cross_entropy.cpp has done so.
#pragma once

#include "ops/cross_entropy/cross_entropy_attrs.h"
#include "ops/kernel/cpu/rows.h"

namespace reckon::ops::RECKON_ISA {
namespace {

inline int64_t counted_targets(const TensorArg& targets, int64_t ignore_index) {
  int64_t n = 0;
  for (int64_t i = 0; i < targets.numel(); ++i) n += targets.as<int64_t>()[i] != ignore_index;
  return n;
}

// Adds up n values in pieces of 256, so that the rounding error of a long f32 sum
// grows with the number of pieces.
template <class C>
inline C sum_in_pieces(const C* v, int64_t n) {
  constexpr int64_t piece = sizeof(C) == sizeof(float) ? 256 : int64_t{1} << 62;
  C total = C(0);
  for (int64_t i = 0; i < n; i += piece) {
    const int64_t count = n - i < piece ? n - i : piece;
    total = add_up(
        total, count, [p = v + i](int64_t k) __attribute__((always_inline)) { return p[k]; });
  }
  return total;
}

// in logits [.., V], targets [..]; out loss, statistics [2, ..]; workspace when reduced: losses of the rows.
// Per row: V for the maximum, V and V exp, V for the sum, one log, 2 for the loss. Reduced: 1 per
// row more, mean: 1 more.
template <class C>
inline void cross_entropy_kernel(KernelArgs& a) {
  const auto& t = a.as<CrossEntropyAttrs>();
  using In = CrossEntropyInput;
  const TensorArg &x = a.in[In::logits], &targets = a.in[In::targets], &loss = a.out[CrossEntropyOutput::loss],
                  &statistics = a.out[CrossEntropyOutput::statistics];
  const int64_t width = x.last(), rows = targets.numel();
  C *tops = statistics.as<C>(), *log_sums = tops + rows;
  const bool reduced = t.reduction != Reduction::none;
  C* losses = reduced ? reinterpret_cast<C*>(a.workspace[0]) : loss.as<C>();
  a.launch(0);
  parallel_ranges(a, rows, 14 * width, [&](int64_t first, int64_t last) {
    alignas(64) C xb[kTile], eb[kTile];
    for (int64_t row = first; row < last; ++row) {
      const int64_t target = targets.as<int64_t>()[row];
      if (target == t.ignore_index) {
        losses[row] = C(0);
        tops[row] = log_sums[row] = C(0);
        continue;
      }
      C top = C(-__builtin_inff()), sum = C(0);
      for (int64_t j = 0; j < width; j += kTile) {
        const int64_t n = tile_count(width, j);
        top = largest(top, load_tile<C>(x.data, x.dtype, row * width + j, 1, n, xb), n);
      }
      for (int64_t j = 0; j < width; j += kTile) {
        const int64_t n = tile_count(width, j);
        const C* v = load_tile<C>(x.data, x.dtype, row * width + j, 1, n, xb);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) eb[i] = k_exp(v[i] - top);
        sum = add_up(
            sum, n, [e = static_cast<const C*>(eb)](int64_t i) __attribute__((always_inline)) { return e[i]; });
      }
      const C log_sum = k_log(sum);
      tops[row] = top, log_sums[row] = log_sum;
      // The difference of two large logits is exact, their sum with the logarithm is not.
      losses[row] = (top - load_one<C>(x, row * width + target)) + log_sum;
    }
  });
  if (!reduced) return;
  a.launch(1);
  C total = sum_in_pieces(losses, rows);
  if (t.reduction == Reduction::mean) total = total / C(counted_targets(targets, t.ignore_index));
  loss.as<C>()[0] = total;
}

// in g, logits, targets, statistics; out dlogits = (exp((logits - maximum) - log of the sum) - [column is the
// target]) scale, where scale is g, for the mean g / count. Per row: 3V and V exp, 1 for the target; mean: 1.
template <class C>
inline void cross_entropy_backward_kernel(KernelArgs& a) {
  const auto& t = a.as<CrossEntropyAttrs>();
  using In = CrossEntropyBackwardInput;
  const TensorArg &g = a.in[In::dloss], &x = a.in[In::logits], &targets = a.in[In::targets],
                  &statistics = a.in[In::statistics], &dx = a.out[0];
  const int64_t width = x.last(), rows = targets.numel();
  const bool reduced = t.reduction != Reduction::none;
  a.launch(0);
  C common = C(0);
  if (reduced) common = load_one<C>(g, 0);
  if (t.reduction == Reduction::mean) common = common / C(counted_targets(targets, t.ignore_index));
  parallel_ranges(a, rows, 12 * width, [&](int64_t first, int64_t last) {
    alignas(64) C xb[kTile], ob[kTile];
    for (int64_t row = first; row < last; ++row) {
      const int64_t target = targets.as<int64_t>()[row];
      if (target == t.ignore_index) {
        const size_t row_bytes = static_cast<size_t>(width) * size_of(dx.dtype);
        __builtin_memset(dx.data + static_cast<size_t>(row) * row_bytes, 0, row_bytes);
        continue;
      }
      const C scale = reduced ? common : load_one<C>(g, row);
      const C top = statistics.as<C>()[row], log_sum = statistics.as<C>()[rows + row];
      for (int64_t j = 0; j < width; j += kTile) {
        const int64_t n = tile_count(width, j);
        const C* v = load_tile<C>(x.data, x.dtype, row * width + j, 1, n, xb);
        C* o = direct_output(dx, row * width + j, ob);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) o[i] = k_exp((v[i] - top) - log_sum) * scale;
        if (target >= j && target < j + n) o[target - j] -= scale;
        store_tile<C>(dx.data, dx.dtype, row * width + j, n, o);
      }
    }
  });
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(cross_entropy)
RECKON_KERNEL(cross_entropy_backward)
