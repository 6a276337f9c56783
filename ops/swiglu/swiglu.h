// silu(gate) * up = gate * sigmoid(gate) * up, of two tensors of one shape in any strides (halves of one
// product, for example). Keeps both inputs, not the sigmoid.
#pragma once

#include "ops/elementwise/formula.h"

namespace reckon::ops {

RECKON_FUNCTION(swiglu, (const Tensor& gate, const Tensor& up), gate, up)

namespace RECKON_ISA {
namespace {

struct Swiglu : OfTwo {
  static constexpr const char *name = "swiglu", *inputs[] = {"gate", "up"};
  static constexpr PerElement cost{.flops = 4, .special = 1}, gradient_cost{.flops = 9, .special = 1};
  RECKON_FORMULA C f(C gate, C up) { return gate * k_sigmoid(gate) * up; }
  // With s = sigmoid(gate): dgate = g up s (1 + gate (1 - s)), dup = g gate s.
  RECKON_FORMULA Gradients<C> df(C g, C gate, C up) {
    const C s = k_sigmoid(gate), g_s = g * s;
    return {g_s * up * (C(1) + gate * (C(1) - s)), g_s * gate};
  }
};
using swiglu_formulas = Formulas<Swiglu>;

}  // namespace
}  // namespace RECKON_ISA
}  // namespace reckon::ops
