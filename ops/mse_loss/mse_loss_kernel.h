// CPU kernels of mse_loss and its gradient. Included by mse_loss.cpp, for f64 and for counting, and
// for f32 once per instruction set.
#pragma once

#include "ops/kernel/cpu/rows.h"
#include "ops/mse_loss/mse_loss_attrs.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// in x, target (contiguous, n elements); out loss; workspace when reduced: sums of the pieces. 2 per element;
// reduced: 1 per element more; mean: 1 more.
template <class C>
inline void mse_loss_kernel(KernelArgs& a) {
  const Reduction reduction = a.as<MseAttrs>().reduction;
  if (reduction == Reduction::none)
    return map_binary<C>(
        a, [](C x, C y) __attribute__((always_inline)) {
          const C d = x - y;
          return d * d;
        });
  const TensorArg &x = a.in[mse_loss_in::x], &y = a.in[mse_loss_in::target];
  const int64_t n = x.numel();
  // The plain sum is one piece; in f32 the pieces bound the rounding error and share the work.
  const int64_t piece = sizeof(C) == sizeof(float) ? kMsePiece : (n > 0 ? n : 1),
                pieces = (n + piece - 1) / piece;
  C* sums = reinterpret_cast<C*>(a.workspace[0]);
  a.launch(0);
  parallel_ranges(a, pieces, piece * 3, [&](int64_t first, int64_t last) {
    alignas(64) C xb[kTile], yb[kTile];
    for (int64_t p = first; p < last; ++p) {
      const int64_t end = (p + 1) * piece < n ? (p + 1) * piece : n;
      C sum = C(0);
      for (int64_t j = p * piece; j < end; j += kTile) {
        const int64_t count = tile_count(end, j);
        const C* u = load_tile<C>(x.data, x.dtype, j, 1, count, xb);
        const C* v = load_tile<C>(y.data, y.dtype, j, 1, count, yb);
        sum = add_up(
            sum, count, [ u, v ](int64_t i) __attribute__((always_inline)) {
              const C d = u[i] - v[i];
              return d * d;
            });
      }
      sums[p] = sum;
    }
  });
  a.launch(1);
  C total = pieces > 0 ? sums[0] : C(0);
  for (int64_t p = 1; p < pieces; ++p) total += sums[p];
  if (reduction == Reduction::mean) total = total / C(n);
  store_one<C>(a.out[0], 0, total);
}

// in g, x, target; out dx = 2 (x - target) g, where the mean divides g by n first. 2 per element and 1, mean 2,
// in all; unreduced 3 per element.
template <class C>
inline void mse_loss_backward_kernel(KernelArgs& a) {
  const Reduction reduction = a.as<MseAttrs>().reduction;
  a.launch(0);
  if (reduction == Reduction::none) {
    elementwise<C, 3, 1>(a, [](int64_t, const C* const* in, C* const* out, int64_t n) {
      const C *g = in[mse_loss_backward_in::g], *x = in[mse_loss_backward_in::x],
              *y = in[mse_loss_backward_in::target];
      C* o = out[0];
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) o[i] = C(2) * (x[i] - y[i]) * g[i];
    });
    return;
  }
  C scale = C(2) * load_one<C>(a.in[mse_loss_backward_in::g], 0);
  if (reduction == Reduction::mean) scale = scale / C(a.in[mse_loss_backward_in::x].numel());
  elementwise<C, 3, 1>(a, [scale](int64_t, const C* const* in, C* const* out, int64_t n) {
    const C *x = in[mse_loss_backward_in::x], *y = in[mse_loss_backward_in::target];
    C* o = out[0];
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) o[i] = (x[i] - y[i]) * scale;
  });
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(mse_loss)
RECKON_KERNEL(mse_loss_backward)
