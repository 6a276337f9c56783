// Transition, outer product mean and triangle multiplication.
#include "autograd/autocast.h"
#include "autograd/fusion.h"
#include "models/evoformer/modules.h"
#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/matmul/matmul.h"
#include "ops/outer_product_mean/outer_product_mean.h"
#include "ops/transition/transition.h"
#include "ops/triangle_multiply/triangle_multiply.h"
#include "ops/view/view.h"
#include "runtime/events/scope.h"

namespace reckon::models {

using autograd::fuses;
using autograd::Fusion;

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
  if (fuses(Fusion::transition))
    return ops::swiglu_transition(x, layer_norm.weight, layer_norm.bias, linear_a.weight, linear_b.weight,
                                  linear_out.weight, layer_norm.eps);
  TensorList ab = project(layer_norm, x, {&linear_a, &linear_b});
  const Tensor product = ops::mul(ops::silu(ab[0]), ab[1]);
  ab.clear();
  return linear_out(product);
}

OuterProductMean::OuterProductMean(Builder& b, std::string_view n, int64_t c_m, int64_t c, int64_t c_z,
                                   bool input_biases)
    : name(intern(n)) {
  ModuleScope scope(name);
  layer_norm = LayerNorm(b, "layer_norm", c_m);
  linear_1 = Linear(b, "linear_1", c_m, c, input_biases, Init::lecun(c_m));
  linear_2 = Linear(b, "linear_2", c_m, c, input_biases, Init::lecun(c_m));
  linear_out = Linear(b, "linear_out", c * c, c_z, true, Init::constant(0));
}

Tensor OuterProductMean::operator()(const Tensor& m, const Tensor& mask, OuterDivision division) const {
  ModuleScope scope(name);
  const int64_t B = m.size(0), S = m.size(1), R = m.size(2);
  Tensor a, b;
  {
    TensorList ab = project(layer_norm, m, {&linear_1, &linear_2});
    a = std::move(ab[0]);
    b = std::move(ab[1]);
  }
  if (mask.defined()) {
    const Tensor mask_BSR1 = ops::unsqueeze(mask, -1);
    a = ops::mul(a, mask_BSR1);
    b = ops::mul(b, mask_BSR1);
  }
  if (fuses(Fusion::outer_product)) {
    ops::OuterProductMeanOptions options;
    using Normalize = ops::OuterProductMeanOptions::Normalize;
    options.normalize = division == OuterDivision::none               ? Normalize::none
                        : division == OuterDivision::after_projection ? Normalize::divide_after
                                                                      : Normalize::divide_before;
    options.eps = eps;
    return ops::outer_product_mean(a, b, linear_out.weight, linear_out.bias,
                                   division == OuterDivision::none ? Tensor{} : mask, options);
  }
  const int64_t c = a.size(3);
  Tensor outer;  // [B, R, R, c, c]
  if (S == 1 && division == OuterDivision::none) {
    // One row: nothing is summed, and a broadcast multiplication does it, as in bioformer.
    outer = ops::mul(ops::reshape(a, {B, R, 1, c, 1}), ops::reshape(b, {B, 1, R, 1, c}));
  } else {
    // [B, S, R*c]: one product gives every pair of channels of every pair of residues.
    outer = ops::matmul(ops::transpose(ops::reshape(a, {B, S, R * c}), 1, 2), ops::reshape(b, {B, S, R * c}));
    outer = ops::permute(ops::reshape(outer, {B, R, c, R, c}), {0, 1, 3, 2, 4});
  }
  a = b = {};
  outer = ops::reshape(outer, {B, R, R, c * c});
  Tensor count;  // rows that cover both residues
  if (mask.defined() && division != OuterDivision::none)
    count = ops::unsqueeze(ops::matmul(ops::transpose(mask, 1, 2), mask), -1);
  if (division == OuterDivision::before_projection) {
    // max(count, 1) for whole numbers: count + relu(1 - count).
    if (count.defined())
      outer = ops::div(outer, ops::add(count, ops::relu(ops::affine(count, -1.0, 1.0))));
    else
      outer = ops::scale(outer, 1.0 / static_cast<double>(S));
  }
  const Tensor update = linear_out(outer);
  outer = {};
  if (division != OuterDivision::after_projection) return update;
  if (!count.defined()) return ops::scale(update, 1.0 / (eps + static_cast<double>(S)));
  return ops::div(update, ops::affine(count, 1.0, eps));
}

TriangleMultiplication::TriangleMultiplication(Builder& b, std::string_view n, const PairStackConfig& c,
                                               bool out)
    : name(intern(n)), outgoing(out) {
  ModuleScope scope(name);
  const int64_t z = c.c_z, h = c.c_hidden_mul;
  const bool bias = c.biases;
  layer_norm_in = LayerNorm(b, "layer_norm_in", z);
  layer_norm_out = LayerNorm(b, "layer_norm_out", h);
  if (c.fuse_projection_weights) {
    linear_ab_p = Linear(b, "linear_ab_p", z, 2 * h, bias, Init::lecun(z));
    linear_ab_g = Linear(b, "linear_ab_g", z, 2 * h, bias, Init::constant(0), 1.0);
  } else {
    linear_a_p = Linear(b, "linear_a_p", z, h, bias, Init::lecun(z));
    linear_a_g = Linear(b, "linear_a_g", z, h, bias, Init::constant(0), 1.0);
    linear_b_p = Linear(b, "linear_b_p", z, h, bias, Init::lecun(z));
    linear_b_g = Linear(b, "linear_b_g", z, h, bias, Init::constant(0), 1.0);
  }
  linear_g = Linear(b, "linear_g", z, z, bias, Init::constant(0), 1.0);
  linear_z = Linear(b, "linear_z", h, z, bias, Init::constant(0));
}

Tensor TriangleMultiplication::operator()(const Tensor& z, const Tensor& mask) const {
  ModuleScope scope(name);
  return fuses(Fusion::triangle) ? fused(z, mask) : eager(z, mask);
}

Tensor TriangleMultiplication::fused(const Tensor& z, const Tensor& mask) const {
  ops::TriangleMultiplyWeights w;
  w.ln_in_w = layer_norm_in.weight;
  w.ln_in_b = layer_norm_in.bias;
  if (linear_ab_p) {
    const int64_t h = linear_ab_p->out() / 2;
    using autograd::in_product_type;
    const Tensor weight_p = in_product_type(linear_ab_p->weight), bias_p = in_product_type(linear_ab_p->bias);
    const Tensor weight_g = in_product_type(linear_ab_g->weight), bias_g = in_product_type(linear_ab_g->bias);
    const auto half = [h](const Tensor& t, int i) {
      return t.defined() ? ops::slice(t, 0, i * h, (i + 1) * h) : t;
    };
    w.w_a = half(weight_p, 0);
    w.b_a = half(bias_p, 0);
    w.w_b = half(weight_p, 1);
    w.b_b = half(bias_p, 1);
    w.w_ag = half(weight_g, 0);
    w.b_ag = half(bias_g, 0);
    w.w_bg = half(weight_g, 1);
    w.b_bg = half(bias_g, 1);
  } else {
    w.w_a = linear_a_p.weight;
    w.b_a = linear_a_p.bias;
    w.w_ag = linear_a_g.weight;
    w.b_ag = linear_a_g.bias;
    w.w_b = linear_b_p.weight;
    w.b_b = linear_b_p.bias;
    w.w_bg = linear_b_g.weight;
    w.b_bg = linear_b_g.bias;
  }
  w.ln_out_w = layer_norm_out.weight;
  w.ln_out_b = layer_norm_out.bias;
  w.w_z = linear_z.weight;
  w.b_z = linear_z.bias;
  w.w_g = linear_g.weight;
  w.b_g = linear_g.bias;
  return ops::triangle_multiply(z, mask, w, outgoing, layer_norm_in.eps);
}

Tensor TriangleMultiplication::eager(const Tensor& z, const Tensor& mask) const {
  Tensor a, b, gate;
  {
    Tensor a_p, a_g, b_p, b_g;
    if (linear_ab_p) {
      TensorList p = project(layer_norm_in, z, {&*linear_ab_g, &*linear_ab_p, &linear_g});
      const int64_t h = linear_ab_p->out() / 2;
      a_g = ops::slice(p[0], -1, 0, h);
      b_g = ops::slice(p[0], -1, h, 2 * h);
      a_p = ops::slice(p[1], -1, 0, h);
      b_p = ops::slice(p[1], -1, h, 2 * h);
      gate = std::move(p[2]);
    } else {
      TensorList p = project(layer_norm_in, z, {&linear_a_g, &linear_a_p, &linear_b_g, &linear_b_p, &linear_g});
      a_g = std::move(p[0]);
      a_p = std::move(p[1]);
      b_g = std::move(p[2]);
      b_p = std::move(p[3]);
      gate = std::move(p[4]);
    }
    const Tensor mask_BRR1 = mask.defined() ? ops::unsqueeze(mask, -1) : mask;
    const auto gated = [&](Tensor& g, Tensor& p) {
      Tensor s = ops::sigmoid(g);
      g = {};
      if (mask_BRR1.defined()) s = ops::mul(mask_BRR1, s);
      Tensor out = ops::mul(s, p);
      p = {};
      return out;
    };
    a = gated(a_g, a_p);
    b = gated(b_g, b_p);
  }
  // Channel by channel: outgoing sums a_ik b_jk, incoming a_ki b_kj.
  const Tensor left = ops::permute(a, outgoing ? Dims{0, 3, 1, 2} : Dims{0, 3, 2, 1});
  const Tensor right = ops::permute(b, outgoing ? Dims{0, 3, 2, 1} : Dims{0, 3, 1, 2});
  a = b = {};
  Tensor t = ops::permute(ops::matmul(left, right), {0, 2, 3, 1});
  t = project(layer_norm_out, t, {&linear_z})[0];
  gate = ops::sigmoid(gate);
  return ops::mul(t, gate);
}

}  // namespace reckon::models
