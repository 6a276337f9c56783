// CPU kernels of softmax, log_softmax, logsumexp and their gradients, a row at a time. Included by softmax.cpp,
// for f64 and for counting, and for f32 once per instruction set.
#pragma once

#include <omp.h>

#include "ops/kernel/cpu/rows.h"
#include "ops/softmax/softmax_inputs.h"

namespace reckon::ops::RECKON_ISA {
namespace {

template <class C>
inline C row_maximum(const TensorArg& x, int64_t row, int64_t c) {
  alignas(64) C xb[kTile];
  C top = C(-__builtin_inff());
  for (int64_t j = 0; j < c; j += kTile) {
    const int64_t n = tile_count(c, j);
    top = largest(top, load_tile<C>(x.data, x.dtype, row * c + j, 1, n, xb), n);
  }
  return top;
}

// sum over the row of exp(x - shift)
template <class C>
inline C row_exp_sum(const TensorArg& x, int64_t row, int64_t c, C shift) {
  alignas(64) C xb[kTile], eb[kTile];
  C sum = C(0);
  for (int64_t j = 0; j < c; j += kTile) {
    const int64_t n = tile_count(c, j);
    const C* v = load_tile<C>(x.data, x.dtype, row * c + j, 1, n, xb);
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) eb[i] = k_exp(v[i] - shift);
    const C* e = eb;
    sum = add_up(
        sum, n, [e](int64_t i) __attribute__((always_inline)) { return e[i]; });
  }
  return sum;
}

// in x; out y. Per row: c for the maximum, c and c exp, c for the sum, 1 + c for the division. The exponentials
// wait in the output; a 16-bit output would round them, so its rows wait in a workspace [threads, c].
template <class C>
inline void softmax_kernel(KernelArgs& a) {
  a.launch(0);
  const TensorArg &x = a.in[0], &y = a.out[0];
  const int64_t c = x.last(), rows = x.rows();
  const bool staged = size_of(y.dtype) < sizeof(C);
  parallel_ranges(a, rows, 14 * c, [&](int64_t first, int64_t last) {
    alignas(64) C xb[kTile];
    C* stage = staged ? reinterpret_cast<C*>(a.workspace[0]) + omp_get_thread_num() * c : nullptr;
    for (int64_t row = first; row < last; ++row) {
      const C top = row_maximum<C>(x, row, c);
      C* e = staged ? stage : y.as<C>() + row * c;
      C sum = C(0);
      for (int64_t j = 0; j < c; j += kTile) {
        const int64_t n = tile_count(c, j);
        const C* v = load_tile<C>(x.data, x.dtype, row * c + j, 1, n, xb);
        C* o = e + j;
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) o[i] = k_exp(v[i] - top);
        sum = add_up(
            sum, n, [o](int64_t i) __attribute__((always_inline)) { return o[i]; });
      }
      const C inverse = C(1) / sum;
#pragma omp simd
      for (int64_t i = 0; i < c; ++i) e[i] *= inverse;
      if (staged) store_tile<C>(y.data, y.dtype, row * c, c, e);
    }
  });
}

// in g, y; out dx = y (g - sum(g y)): 2c for the sum, 2c for dx.
template <class C>
inline void softmax_backward_kernel(KernelArgs& a) {
  a.launch(0);
  const TensorArg &g = a.in[softmax_backward_in::g], &y = a.in[softmax_backward_in::y], &dx = a.out[0];
  const int64_t c = y.last(), rows = y.rows();
  parallel_ranges(a, rows, 5 * c, [&](int64_t first, int64_t last) {
    alignas(64) C gb[kTile], yb[kTile], ob[kTile];
    for (int64_t row = first; row < last; ++row) {
      C dot = C(0);
      for (int64_t j = 0; j < c; j += kTile) {
        const int64_t n = tile_count(c, j);
        const C* gv = load_tile<C>(g.data, g.dtype, row * c + j, 1, n, gb);
        const C* yv = load_tile<C>(y.data, y.dtype, row * c + j, 1, n, yb);
        dot = add_up(
            dot, n, [ gv, yv ](int64_t i) __attribute__((always_inline)) { return gv[i] * yv[i]; });
      }
      for (int64_t j = 0; j < c; j += kTile) {
        const int64_t n = tile_count(c, j);
        const C* gv = load_tile<C>(g.data, g.dtype, row * c + j, 1, n, gb);
        const C* yv = load_tile<C>(y.data, y.dtype, row * c + j, 1, n, yb);
        C* o = direct_output(dx, row * c + j, ob);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) o[i] = yv[i] * (gv[i] - dot);
        store_tile<C>(dx.data, dx.dtype, row * c + j, n, o);
      }
    }
  });
}

// in x; out y = (x - max) - log(sum exp(x - max)): c for the maximum, c and c exp, c
// for the sum, one log, 2c for y.
template <class C>
inline void log_softmax_kernel(KernelArgs& a) {
  a.launch(0);
  const TensorArg &x = a.in[0], &y = a.out[0];
  const int64_t c = x.last(), rows = x.rows();
  parallel_ranges(a, rows, 14 * c, [&](int64_t first, int64_t last) {
    alignas(64) C xb[kTile], ob[kTile];
    for (int64_t row = first; row < last; ++row) {
      const C top = row_maximum<C>(x, row, c);
      const C log_sum = k_log(row_exp_sum<C>(x, row, c, top));
      for (int64_t j = 0; j < c; j += kTile) {
        const int64_t n = tile_count(c, j);
        const C* v = load_tile<C>(x.data, x.dtype, row * c + j, 1, n, xb);
        C* o = direct_output(y, row * c + j, ob);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) o[i] = (v[i] - top) - log_sum;
        store_tile<C>(y.data, y.dtype, row * c + j, n, o);
      }
    }
  });
}

// in g, y; out dx = g - exp(y) sum(g): c for the sum, c exp and 2c for dx.
template <class C>
inline void log_softmax_backward_kernel(KernelArgs& a) {
  a.launch(0);
  const TensorArg &g = a.in[softmax_backward_in::g], &y = a.in[softmax_backward_in::y], &dx = a.out[0];
  const int64_t c = y.last(), rows = y.rows();
  parallel_ranges(a, rows, 12 * c, [&](int64_t first, int64_t last) {
    alignas(64) C gb[kTile], yb[kTile], ob[kTile];
    for (int64_t row = first; row < last; ++row) {
      C sum = C(0);
      for (int64_t j = 0; j < c; j += kTile) {
        const int64_t n = tile_count(c, j);
        const C* gv = load_tile<C>(g.data, g.dtype, row * c + j, 1, n, gb);
        sum = add_up(
            sum, n, [gv](int64_t i) __attribute__((always_inline)) { return gv[i]; });
      }
      for (int64_t j = 0; j < c; j += kTile) {
        const int64_t n = tile_count(c, j);
        const C* gv = load_tile<C>(g.data, g.dtype, row * c + j, 1, n, gb);
        const C* yv = load_tile<C>(y.data, y.dtype, row * c + j, 1, n, yb);
        C* o = direct_output(dx, row * c + j, ob);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) o[i] = gv[i] - k_exp(yv[i]) * sum;
        store_tile<C>(dx.data, dx.dtype, row * c + j, n, o);
      }
    }
  });
}

// in x [.., c]; out y [..] = max + log(sum exp(x - max)), and its two terms: c for the maximum, c and c exp, c for
// the sum, 1 and one log.
template <class C>
inline void logsumexp_kernel(KernelArgs& a) {
  a.launch(0);
  const TensorArg& x = a.in[0];
  const int64_t c = x.last(), rows = x.rows();
  C* statistics = a.out[logsumexp_out::statistics].template as<C>();
  const C lowest = C(-__builtin_inff());
  parallel_ranges(a, rows, 12 * c, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const C top = row_maximum<C>(x, row, c);
      // A row of -infinity gives log(0), one with +infinity log(infinity), neither a difference of the two.
      const C shift = top == lowest || top == -lowest ? C(0) : top;
      const C log_sum = k_log(row_exp_sum<C>(x, row, c, shift));
      statistics[row] = top, statistics[rows + row] = log_sum;
      store_one<C>(a.out[logsumexp_out::y], row, shift + log_sum);
    }
  });
}

// in g [..], x [.., c], statistics [2, ..]; out dx = g exp((x - max) - log(sum)): 3c and c exp.
template <class C>
inline void logsumexp_backward_kernel(KernelArgs& a) {
  a.launch(0);
  const TensorArg &g = a.in[logsumexp_backward_in::g], &x = a.in[logsumexp_backward_in::x], &dx = a.out[0];
  const C* statistics = a.in[logsumexp_backward_in::statistics].template as<C>();
  const int64_t c = x.last(), rows = x.rows();
  parallel_ranges(a, rows, 12 * c, [&](int64_t first, int64_t last) {
    alignas(64) C xb[kTile], ob[kTile];
    for (int64_t row = first; row < last; ++row) {
      const C gv = load_one<C>(g, row), top = statistics[row], log_sum = statistics[rows + row];
      for (int64_t j = 0; j < c; j += kTile) {
        const int64_t n = tile_count(c, j);
        const C* v = load_tile<C>(x.data, x.dtype, row * c + j, 1, n, xb);
        C* o = direct_output(dx, row * c + j, ob);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) o[i] = gv * k_exp((v[i] - top) - log_sum);
        store_tile<C>(dx.data, dx.dtype, row * c + j, n, o);
      }
    }
  });
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(softmax)
RECKON_KERNEL(softmax_backward)
RECKON_KERNEL(log_softmax)
RECKON_KERNEL(log_softmax_backward)
RECKON_KERNEL(logsumexp)
RECKON_KERNEL(logsumexp_backward)
