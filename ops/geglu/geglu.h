// gelu_tanh(gate) * up, the gated activation of Gemma, of two tensors of one shape in any strides. Keeps both
// inputs, not the activation.
#pragma once

#include "ops/activation/activation.h"

namespace reckon::ops {

RECKON_FUNCTION(geglu, (const Tensor& gate, const Tensor& up), gate, up)

namespace RECKON_ISA {
namespace {

struct Geglu : OfTwo {
  static constexpr const char *name = "geglu", *inputs[] = {"gate", "up"};
  static constexpr PerElement cost{.flops = 9, .special = 1}, gradient_cost{.flops = 23, .special = 1};
  RECKON_FORMULA C f(C gate, C up) { return GeluTanh::f(gate) * up; }
  // dgate = g up gelu'(gate), dup = g gelu(gate); both from one tanh.
  RECKON_FORMULA Gradients<C> df(C g, C gate, C up) {
    const C t = GeluTanh::tanh_of_u(gate);
    return {g * up * GeluTanh::slope(gate, t), g * (C(0.5) * gate * (C(1) + t))};
  }
};
using geglu_formulas = Formulas<Geglu>;

}  // namespace
}  // namespace RECKON_ISA
}  // namespace reckon::ops
