#include "models/nn/feed_forward.h"

#include "autograd/autocast.h"
#include "autograd/fusion.h"
#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/transition/transition.h"
#include "ops/view/view.h"
#include "runtime/events/scope.h"

namespace reckon::models {

using autograd::fuses;
using autograd::Fusion;

namespace {

Tensor composed(TensorList gate_up, const Linear& out) {
  const Tensor product = ops::mul(ops::silu(gate_up[0]), gate_up[1]);
  gate_up.clear();
  return out(product);
}

}  // namespace

Tensor swiglu(const Tensor& x, const RmsNorm& norm, const Linear& gate, const Linear& up, const Linear& out) {
  const bool adapted = gate.lora || up.lora || out.lora;
  if (adapted || !fuses(Fusion::transition)) return composed(project(norm, x, {&gate, &up}), out);
  return ops::swiglu_transition(norm(x), {}, {}, gate.weight, up.weight, out.weight, 0.0);
}

Tensor swiglu(const Tensor& x, const LayerNorm& norm, const Linear& gate, const Linear& up, const Linear& out) {
  if (!fuses(Fusion::transition)) return composed(project(norm, x, {&gate, &up}), out);
  return ops::swiglu_transition(x, norm.weight, norm.bias, gate.weight, up.weight, out.weight, norm.eps);
}

Tensor swiglu_merged(const Tensor& x, const LayerNorm* norm, const Linear& up_gate, const Linear& out) {
  const int64_t hidden = up_gate.out() / 2;
  if (fuses(Fusion::transition)) {
    const Tensor whole = autograd::in_product_type(up_gate.weight);
    const LayerNorm& n = norm ? *norm : LayerNorm();
    return ops::swiglu_transition(x, n.weight, n.bias, ops::slice(whole, 0, hidden, 2 * hidden),
                                  ops::slice(whole, 0, 0, hidden), out.weight, n.eps);
  }
  Tensor h = norm ? project(*norm, x, {&up_gate})[0] : up_gate(x);
  const Tensor up = ops::slice(h, -1, 0, hidden), gate = ops::slice(h, -1, hidden, 2 * hidden);
  h = {};
  return out(ops::mul(ops::silu(gate), up));
}

Transition::Transition(Builder& b, std::string_view n, int64_t c, int64_t factor) : name(intern(n)) {
  ModuleScope scope(name);
  layer_norm = LayerNorm(b, "layer_norm", c);
  linear_1 = Linear(b, "linear_1", c, factor * c, true, Init::he(c));
  linear_2 = Linear(b, "linear_2", factor * c, c, true, Init::constant(0));
}

Tensor Transition::operator()(const Tensor& x, const Tensor& mask) const {
  ModuleScope scope(name);
  Tensor y;
  if (fuses(Fusion::transition)) {
    y = ops::relu_transition(x, layer_norm.weight, layer_norm.bias, linear_1.weight, linear_1.bias,
                             linear_2.weight, linear_2.bias, layer_norm.eps);
  } else {
    y = linear_2(ops::relu(project(layer_norm, x, {&linear_1})[0]));
  }
  return mask.defined() ? ops::mul(y, ops::unsqueeze(mask, -1)) : y;
}

SwigluTransition::SwigluTransition(Builder& b, std::string_view n, int64_t c, int64_t factor)
    : name(intern(n)) {
  ModuleScope scope(name);
  layer_norm = LayerNorm(b, "layer_norm", c);
  linear_a = Linear(b, "linear_a", c, factor * c, false, Init::he(c));
  linear_b = Linear(b, "linear_b", c, factor * c, false, Init::he(c));
  linear_out = Linear(b, "linear_out", factor * c, c, false, Init::constant(0));
}

Tensor SwigluTransition::operator()(const Tensor& x) const {
  ModuleScope scope(name);
  return swiglu(x, layer_norm, linear_a, linear_b, linear_out);
}

}  // namespace reckon::models
