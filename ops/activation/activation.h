// Elementwise functions of one tensor. Any shape and strides; the result is contiguous and of the input's type.
// Each keeps one tensor for backward: its output where the derivative is a function of it, else its input.
#pragma once

#include "ops/elementwise/formula.h"

namespace reckon::ops {

RECKON_FUNCTION(relu, (const Tensor& x), x)
RECKON_FUNCTION(sigmoid, (const Tensor& x), x)
RECKON_FUNCTION(tanh, (const Tensor& x), x)
RECKON_FUNCTION(exp, (const Tensor& x), x)
RECKON_FUNCTION(log, (const Tensor& x), x)
RECKON_FUNCTION(sqrt, (const Tensor& x), x)
RECKON_FUNCTION(silu, (const Tensor& x), x)       // x * sigmoid(x)
RECKON_FUNCTION(gelu, (const Tensor& x), x)       // x * Phi(x), by erf
RECKON_FUNCTION(gelu_tanh, (const Tensor& x), x)  // the tanh approximation
RECKON_FUNCTION(abs, (const Tensor& x), x)        // gradient at 0: that of -x
RECKON_FUNCTION(cos, (const Tensor& x), x)

namespace RECKON_ISA {
namespace {

// f(x) forward; df(g, s) the gradient of x, from the output's gradient g and what was
// kept: the output y or the input x.
struct Relu : OfOne {
  static constexpr const char* name = "relu";
  static constexpr PerElement cost{.flops = 1}, gradient_cost{};
  static constexpr Keeps keeps = Keeps::output;
  RECKON_FORMULA C f(C x) { return k_max(C(0), x); }
  RECKON_FORMULA C df(C g, C y) { return y > C(0) ? g : (y == y ? C(0) : y); }
};

struct Sigmoid : OfOne {
  static constexpr const char* name = "sigmoid";
  static constexpr PerElement cost{.flops = 2, .special = 1}, gradient_cost{.flops = 3};
  static constexpr Keeps keeps = Keeps::output;
  RECKON_FORMULA C f(C x) { return k_sigmoid(x); }
  RECKON_FORMULA C df(C g, C y) { return g * (y * (C(1) - y)); }
};

struct Tanh : OfOne {
  static constexpr const char* name = "tanh";
  static constexpr PerElement cost{.special = 1}, gradient_cost{.flops = 3};
  static constexpr Keeps keeps = Keeps::output;
  RECKON_FORMULA C f(C x) { return k_tanh(x); }
  RECKON_FORMULA C df(C g, C y) { return g * (C(1) - y * y); }
};

struct Exp : OfOne {
  static constexpr const char* name = "exp";
  static constexpr PerElement cost{.special = 1}, gradient_cost{.flops = 1};
  static constexpr Keeps keeps = Keeps::output;
  RECKON_FORMULA C f(C x) { return k_exp(x); }
  RECKON_FORMULA C df(C g, C y) { return g * y; }
};

struct Log : OfOne {
  static constexpr const char* name = "log";
  static constexpr PerElement cost{.special = 1}, gradient_cost{.flops = 1};
  static constexpr Domain domain = Domain::positive;
  RECKON_FORMULA C f(C x) { return k_log(x); }
  RECKON_FORMULA C df(C g, C x) { return g / x; }
};

struct Sqrt : OfOne {
  static constexpr const char* name = "sqrt";
  static constexpr PerElement cost{.special = 1}, gradient_cost{.flops = 2};
  static constexpr Keeps keeps = Keeps::output;
  static constexpr Domain domain = Domain::positive;
  RECKON_FORMULA C f(C x) { return k_sqrt(x); }
  RECKON_FORMULA C df(C g, C y) { return C(0.5) * g / y; }
};

struct Silu : OfOne {
  static constexpr const char* name = "silu";
  static constexpr PerElement cost{.flops = 3, .special = 1}, gradient_cost{.flops = 7, .special = 1};
  RECKON_FORMULA C f(C x) { return x * k_sigmoid(x); }
  RECKON_FORMULA C df(C g, C x) {
    const C s = k_sigmoid(x);
    return g * (s * (C(1) + x * (C(1) - s)));
  }
};

struct Gelu : OfOne {
  static constexpr const char* name = "gelu";
  static constexpr PerElement cost{.flops = 4, .special = 1}, gradient_cost{.flops = 9, .special = 2};
  static constexpr double kRootHalf = 0.70710678118654752, kDensity = 0.39894228040143268;  // 1 / sqrt(2 pi)
  RECKON_FORMULA C f(C x) { return C(0.5) * x * (C(1) + k_erf(x * C(kRootHalf))); }
  RECKON_FORMULA C df(C g, C x) {
    const C cdf = C(0.5) * (C(1) + k_erf(x * C(kRootHalf)));
    const C pdf = C(kDensity) * k_exp(-(C(0.5) * x * x));
    return g * (cdf + x * pdf);
  }
};

// 0.5 x (1 + tanh(u)) with u = sqrt(2 / pi) (x + 0.044715 x^3)
struct GeluTanh : OfOne {
  static constexpr const char* name = "gelu_tanh";
  static constexpr PerElement cost{.flops = 8, .special = 1}, gradient_cost{.flops = 18, .special = 1};
  static constexpr double kRootTwoOverPi = 0.79788456080286536, kCubic = 0.044715, kThreeCubic = 0.134145;
  RECKON_FORMULA C tanh_of_u(C x) { return k_tanh(C(kRootTwoOverPi) * (x + C(kCubic) * x * x * x)); }
  RECKON_FORMULA C f(C x) { return C(0.5) * x * (C(1) + tanh_of_u(x)); }
  RECKON_FORMULA C slope(C x, C t) {  // at x, where tanh(u) is t
    const C du = C(kRootTwoOverPi) * (C(1) + C(kThreeCubic) * x * x);
    return C(0.5) * (C(1) + t) + C(0.5) * x * (C(1) - t * t) * du;
  }
  RECKON_FORMULA C df(C g, C x) { return g * slope(x, tanh_of_u(x)); }
};

struct Abs : OfOne {
  static constexpr const char* name = "abs";
  static constexpr PerElement cost{.flops = 1}, gradient_cost{};
  RECKON_FORMULA C f(C x) { return k_max(x, -x); }
  RECKON_FORMULA C df(C g, C x) { return x > C(0) ? g : (x == x ? -g : x); }
};

struct Cos : OfOne {
  static constexpr const char* name = "cos";
  static constexpr PerElement cost{.special = 1}, gradient_cost{.flops = 1, .special = 1};
  RECKON_FORMULA C f(C x) { return k_cos(x); }
  RECKON_FORMULA C df(C g, C x) { return -(g * k_sin(x)); }
};

using activation_formulas = Formulas<Relu, Sigmoid, Tanh, Exp, Log, Sqrt, Silu, Gelu, GeluTanh, Abs, Cos>;

}  // namespace
}  // namespace RECKON_ISA
}  // namespace reckon::ops
