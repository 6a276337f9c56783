// The formulas: f(x) forward, df(g, s) = gradient from the output's gradient g and the kept tensor s.
#pragma once

#include "ops/activation/activation_list.h"
#include "ops/kernel/cpu/elementwise.h"

namespace reckon::ops::RECKON_ISA {
namespace {

struct relu_formula {
  template <class C>
  static RECKON_INLINE C f(C x) {
    return k_max(x, C(0));
  }
  template <class C>
  static RECKON_INLINE C df(C g, C y) {
    return y > C(0) ? g : C(0);
  }
};
struct sigmoid_formula {
  template <class C>
  static RECKON_INLINE C f(C x) {
    return k_sigmoid(x);
  }
  template <class C>
  static RECKON_INLINE C df(C g, C y) {
    return g * (y * (C(1) - y));
  }
};
struct tanh_formula {
  template <class C>
  static RECKON_INLINE C f(C x) {
    return k_tanh(x);
  }
  template <class C>
  static RECKON_INLINE C df(C g, C y) {
    return g * (C(1) - y * y);
  }
};
struct exp_formula {
  template <class C>
  static RECKON_INLINE C f(C x) {
    return k_exp(x);
  }
  template <class C>
  static RECKON_INLINE C df(C g, C y) {
    return g * y;
  }
};
struct log_formula {
  template <class C>
  static RECKON_INLINE C f(C x) {
    return k_log(x);
  }
  template <class C>
  static RECKON_INLINE C df(C g, C x) {
    return g / x;
  }
};
struct sqrt_formula {
  template <class C>
  static RECKON_INLINE C f(C x) {
    return k_sqrt(x);
  }
  template <class C>
  static RECKON_INLINE C df(C g, C y) {
    return C(0.5) * g / y;
  }
};
struct silu_formula {
  template <class C>
  static RECKON_INLINE C f(C x) {
    return x * k_sigmoid(x);
  }
  template <class C>
  static RECKON_INLINE C df(C g, C x) {
    const C s = k_sigmoid(x);
    return g * (s * (C(1) + x * (C(1) - s)));
  }
};
struct gelu_formula {
  template <class C>
  static RECKON_INLINE C f(C x) {
    return C(0.5) * x * (C(1) + k_erf(x * C(0.70710678118654752)));
  }
  template <class C>
  static RECKON_INLINE C df(C g, C x) {
    const C cdf = C(0.5) * (C(1) + k_erf(x * C(0.70710678118654752)));
    const C pdf = C(0.39894228040143268) * k_exp(-(C(0.5) * x * x));
    return g * (cdf + x * pdf);
  }
};
struct gelu_tanh_formula {
  template <class C>
  static RECKON_INLINE C inner(C x) {
    return C(0.79788456080286536) * (x + C(0.044715) * x * x * x);
  }
  template <class C>
  static RECKON_INLINE C f(C x) {
    return C(0.5) * x * (C(1) + k_tanh(inner(x)));
  }
  template <class C>
  static RECKON_INLINE C df(C g, C x) {
    const C t = k_tanh(inner(x));
    const C slope = C(0.79788456080286536) * (C(1) + C(0.134145) * x * x);
    return g * (C(0.5) * (C(1) + t) + C(0.5) * x * (C(1) - t * t) * slope);
  }
};

struct abs_formula {
  template <class C>
  static RECKON_INLINE C f(C x) {
    return k_max(x, -x);
  }
  template <class C>
  static RECKON_INLINE C df(C g, C x) {
    return x > C(0) ? g : -g;
  }
};
struct cos_formula {
  template <class C>
  static RECKON_INLINE C f(C x) {
    return k_cos(x);
  }
  template <class C>
  static RECKON_INLINE C df(C g, C x) {
    return -(g * k_sin(x));
  }
};

#define RECKON_ACTIVATION_KERNELS(name, ...)                                                      \
  template <class C>                                                                              \
  inline void name##_kernel(KernelArgs& a) {                                                      \
    map_unary<C>(                                                                                 \
        a, [](C x) __attribute__((always_inline)) { return name##_formula::f(x); }, 12);          \
  }                                                                                               \
  template <class C>                                                                              \
  inline void name##_backward_kernel(KernelArgs& a) {                                             \
    map_binary<C>(                                                                                \
        a, [](C g, C s) __attribute__((always_inline)) { return name##_formula::df(g, s); }, 12); \
  }
RECKON_ACTIVATIONS(RECKON_ACTIVATION_KERNELS)
#undef RECKON_ACTIVATION_KERNELS

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

#define RECKON_NAME_BOTH(name, ...) RECKON_KERNEL(name) RECKON_KERNEL(name##_backward)
RECKON_ACTIVATIONS(RECKON_NAME_BOTH)
#undef RECKON_NAME_BOTH
