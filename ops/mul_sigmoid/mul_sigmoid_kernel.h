#pragma once

#include "ops/kernel/cpu/elementwise.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// in x, gate; out y: sigmoid (2 and an exp), 1 product.
template <class C>
inline void mul_sigmoid_kernel(KernelArgs& a) {
  map_binary<C>(
      a, [](C x, C gate) __attribute__((always_inline)) { return x * k_sigmoid(gate); }, 14);
}

// in g, x, gate; out dx, dgate. With s = sigmoid(gate): dx = g s, dgate = g s x (1 - s).
template <class C>
inline void mul_sigmoid_backward_kernel(KernelArgs& a) {
  a.launch(0);
  elementwise<C, 3, 2>(
      a,
      [](int64_t, const C* const* in, C* const* out, int64_t n) {
        const C *g = in[0], *x = in[1], *gate = in[2];
        C *dx = out[0], *dgate = out[1];
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
          const C s = k_sigmoid(gate[i]), g_s = g[i] * s;
          dx[i] = g_s;
          dgate[i] = g_s * x[i] * (C(1) - s);
        }
      },
      16);
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(mul_sigmoid)
RECKON_KERNEL(mul_sigmoid_backward)
