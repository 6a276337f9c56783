// x * sigmoid(gate), of two tensors of one shape in any strides. Keeps both inputs, not the sigmoid.
#pragma once

#include "ops/elementwise/formula.h"

namespace reckon::ops {

RECKON_FUNCTION(mul_sigmoid, (const Tensor& x, const Tensor& gate), x, gate)

namespace RECKON_ISA {
namespace {

struct MulSigmoid : OfTwo {
  static constexpr const char *name = "mul_sigmoid", *inputs[] = {"x", "gate"};
  static constexpr PerElement cost{.flops = 3, .special = 1}, gradient_cost{.flops = 6, .special = 1};
  RECKON_FORMULA C f(C x, C gate) { return x * k_sigmoid(gate); }
  // With s = sigmoid(gate): dx = g s, dgate = g s x (1 - s).
  RECKON_FORMULA Gradients<C> df(C g, C x, C gate) {
    const C s = k_sigmoid(gate), g_s = g * s;
    return {g_s, g_s * x * (C(1) - s)};
  }
};
using mul_sigmoid_formulas = Formulas<MulSigmoid>;

}  // namespace
}  // namespace RECKON_ISA
}  // namespace reckon::ops
