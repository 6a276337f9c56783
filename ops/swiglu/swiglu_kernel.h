#pragma once

#include "ops/kernel/cpu/elementwise.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// in gate, up; out y: sigmoid (2 and an exp), 2 products.
template <class C>
inline void swiglu_kernel(KernelArgs& a) {
  map_binary<C>(
      a, [](C gate, C up) __attribute__((always_inline)) { return gate * k_sigmoid(gate) * up; }, 14);
}

// in g, gate, up; out dgate, dup. With s = sigmoid(gate): dup = g gate s, dgate = g up s (1 + gate (1 - s)).
template <class C>
inline void swiglu_backward_kernel(KernelArgs& a) {
  a.launch(0);
  elementwise<C, 3, 2>(
      a,
      [](int64_t, const C* const* in, C* const* out, int64_t n) {
        const C *g = in[0], *gate = in[1], *up = in[2];
        C *dgate = out[0], *dup = out[1];
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
          const C s = k_sigmoid(gate[i]), g_s = g[i] * s;
          dup[i] = g_s * gate[i];
          dgate[i] = g_s * up[i] * (C(1) + gate[i] * (C(1) - s));
        }
      },
      18);
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(swiglu)
RECKON_KERNEL(swiglu_backward)
