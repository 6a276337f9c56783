#include "models/nn/pair_updates.h"

#include "autograd/autocast.h"
#include "autograd/fusion.h"
#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/matmul/matmul.h"
#include "ops/mul_sigmoid/mul_sigmoid.h"
#include "ops/outer_product_mean/outer_product_mean.h"
#include "ops/triangle_multiply/triangle_multiply.h"
#include "ops/view/view.h"
#include "runtime/events/scope.h"

namespace reckon::models {

using autograd::fuses;
using autograd::Fusion;

namespace {

ops::OuterProductMeanOptions fused_options(OuterDivision division, double eps) {
  using Normalize = ops::OuterProductMeanOptions::Normalize;
  ops::OuterProductMeanOptions options;
  options.normalize = division == OuterDivision::none               ? Normalize::none
                      : division == OuterDivision::after_projection ? Normalize::divide_after
                                                                    : Normalize::divide_before;
  options.eps = eps;
  return options;
}

// [B, R, R, c * c], summed over rows; the factors are dropped.
Tensor outer_sum(Tensor a, Tensor b, OuterDivision division) {
  const int64_t B = a.size(0), S = a.size(1), R = a.size(2), c = a.size(3);
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
  return ops::reshape(outer, {B, R, R, c * c});
}

// Channel by channel: outgoing sums a_ik b_jk, incoming a_ki b_kj.
Tensor left_of(const Tensor& a, bool outgoing) {
  return ops::permute(a, outgoing ? Dims{0, 3, 1, 2} : Dims{0, 3, 2, 1});
}
Tensor right_of(const Tensor& b, bool outgoing) {
  return ops::permute(b, outgoing ? Dims{0, 3, 2, 1} : Dims{0, 3, 1, 2});
}
Tensor mixed(const Tensor& left, const Tensor& right) {
  return ops::permute(ops::matmul(left, right), {0, 2, 3, 1});
}

}  // namespace

Tensor outer_product(Tensor&& a, Tensor&& b, const Tensor& mask, const Linear& out, OuterDivision division,
                     double eps) {
  const int64_t S = a.size(1);
  if (fuses(Fusion::outer_product))
    return ops::outer_product_mean(a, b, out.weight, out.bias,
                                   division == OuterDivision::none ? Tensor{} : mask,
                                   fused_options(division, eps));
  Tensor outer = outer_sum(std::move(a), std::move(b), division);
  Tensor count;  // rows that cover both residues
  if (mask.defined() && division != OuterDivision::none)
    count = ops::unsqueeze(ops::matmul(ops::transpose(mask, 1, 2), mask), -1);
  if (division == OuterDivision::before_projection) {
    if (!count.defined()) return out(ops::scale(outer, 1.0 / static_cast<double>(S)));
    // max(count, 1) for whole numbers: count + relu(1 - count).
    outer = ops::div(outer, ops::add(count, ops::relu(ops::affine(count, -1.0, 1.0))));
  }
  const Tensor update = out(outer);
  outer = {};
  if (division != OuterDivision::after_projection) return update;
  if (!count.defined()) return ops::scale(update, 1.0 / (eps + static_cast<double>(S)));
  return ops::div(update, ops::affine(count, 1.0, eps));
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
  return outer_product(std::move(a), std::move(b), mask, linear_out, division, eps);
}

TriangleMultiplication::TriangleMultiplication(Builder& b, std::string_view n,
                                               const TriangleMultiplicationConfig& c, bool out)
    : name(intern(n)), outgoing(out) {
  ModuleScope scope(name);
  const int64_t z = c.c_z, h = c.c_hidden;
  const auto projection = [&](std::string_view linear, int64_t width) {
    return Linear(b, linear, z, width, c.biases, Init::lecun(z));
  };
  const auto gate = [&](std::string_view linear, int64_t width) {
    return Linear(b, linear, z, width, c.biases, Init::constant(0), 1.0);
  };
  layer_norm_in = LayerNorm(b, "layer_norm_in", z);
  layer_norm_out = LayerNorm(b, "layer_norm_out", h);
  if (c.fused_projections) {
    linear_ab_p = projection("linear_ab_p", 2 * h);
    linear_ab_g = gate("linear_ab_g", 2 * h);
  } else {
    linear_a_p = projection("linear_a_p", h);
    linear_a_g = gate("linear_a_g", h);
    linear_b_p = projection("linear_b_p", h);
    linear_b_g = gate("linear_b_g", h);
  }
  linear_g = gate("linear_g", z);
  linear_z = Linear(b, "linear_z", h, z, c.biases, Init::constant(0));
}

Tensor TriangleMultiplication::operator()(const Tensor& z, const Tensor& mask) const {
  ModuleScope scope(name);
  return fuses(Fusion::triangle) ? fused(z, mask) : eager(z, mask);
}

Tensor TriangleMultiplication::fused(const Tensor& z, const Tensor& mask) const {
  ops::TriangleMultiplyWeights w;
  w.ln_in_w = layer_norm_in.weight, w.ln_in_b = layer_norm_in.bias;
  if (linear_ab_p) {
    using autograd::in_product_type;
    const int64_t h = linear_ab_p->out() / 2;
    const Tensor weight_p = in_product_type(linear_ab_p->weight), bias_p = in_product_type(linear_ab_p->bias);
    const Tensor weight_g = in_product_type(linear_ab_g->weight), bias_g = in_product_type(linear_ab_g->bias);
    const auto half = [h](const Tensor& t, int i) {
      return t.defined() ? ops::slice(t, 0, i * h, (i + 1) * h) : t;
    };
    w.w_a = half(weight_p, 0), w.b_a = half(bias_p, 0), w.w_b = half(weight_p, 1), w.b_b = half(bias_p, 1);
    w.w_ag = half(weight_g, 0), w.b_ag = half(bias_g, 0), w.w_bg = half(weight_g, 1), w.b_bg = half(bias_g, 1);
  } else {
    w.w_a = linear_a_p.weight, w.b_a = linear_a_p.bias, w.w_ag = linear_a_g.weight, w.b_ag = linear_a_g.bias;
    w.w_b = linear_b_p.weight, w.b_b = linear_b_p.bias, w.w_bg = linear_b_g.weight, w.b_bg = linear_b_g.bias;
  }
  w.ln_out_w = layer_norm_out.weight, w.ln_out_b = layer_norm_out.bias;
  w.w_z = linear_z.weight, w.b_z = linear_z.bias, w.w_g = linear_g.weight, w.b_g = linear_g.bias;
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
  const Tensor left = left_of(a, outgoing), right = right_of(b, outgoing);
  a = b = {};
  Tensor t = mixed(left, right);
  t = project(layer_norm_out, t, {&linear_z})[0];
  gate = ops::sigmoid(gate);
  return ops::mul(t, gate);
}

Tensor triangle_multiply_merged(const Tensor& z, const LayerNorm& norm, const Linear& left_right,
                                const Linear& out_gate, const LayerNorm& out_norm, const Linear& to_out,
                                bool outgoing) {
  const int64_t h = left_right.out() / 4;
  if (fuses(Fusion::triangle)) {
    const Tensor whole = autograd::in_product_type(left_right.weight);
    const auto rows = [&](int i) { return ops::slice(whole, 0, i * h, (i + 1) * h); };
    ops::TriangleMultiplyWeights w;
    w.ln_in_w = norm.weight, w.ln_in_b = norm.bias, w.ln_out_w = out_norm.weight, w.ln_out_b = out_norm.bias;
    w.w_a = rows(0), w.w_b = rows(1), w.w_ag = rows(2), w.w_bg = rows(3);
    w.w_z = to_out.weight, w.w_g = out_gate.weight;
    return ops::triangle_multiply(z, {}, w, outgoing, norm.eps);
  }
  TensorList p = project(norm, z, {&left_right, &out_gate});
  // A gated linear unit.
  Tensor both = ops::mul_sigmoid(ops::slice(p[0], -1, 0, 2 * h), ops::slice(p[0], -1, 2 * h, 4 * h));
  p[0] = {};
  const Tensor left = left_of(ops::slice(both, -1, 0, h), outgoing);
  const Tensor right = right_of(ops::slice(both, -1, h, 2 * h), outgoing);
  both = {};
  const Tensor product = mixed(left, right);
  const Tensor gate = ops::sigmoid(p[1]);
  p.clear();
  return ops::mul(project(out_norm, product, {&to_out})[0], gate);
}

}  // namespace reckon::models
