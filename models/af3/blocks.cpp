#include "models/af3/blocks.h"

#include <cmath>

#include "autograd/autocast.h"
#include "autograd/checkpoint.h"
#include "autograd/fusion.h"
#include "ops/activation/activation.h"
#include "ops/attention/attention.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/dropout/dropout.h"
#include "ops/masked_fill/masked_fill.h"
#include "ops/matmul/matmul.h"
#include "ops/mul_sigmoid/mul_sigmoid.h"
#include "ops/outer_product_mean/outer_product_mean.h"
#include "ops/softmax/softmax.h"
#include "ops/transition/transition.h"
#include "ops/triangle_multiply/triangle_multiply.h"
#include "ops/view/view.h"
#include "runtime/events/scope.h"

namespace reckon::models::af3 {

using autograd::Boundary;
using autograd::fuses;
using autograd::Fusion;
using autograd::segment;

namespace {

constexpr double kHiddenLogit = -1e9;

// [B, X, Y, H*D] as [B, batch, H, L, D].
Tensor split_heads(const Tensor& t, int64_t heads, AttentionAxis axis) {
  const Tensor five = ops::reshape(t, {t.size(0), t.size(1), t.size(2), heads, t.size(3) / heads});
  return ops::permute(five, axis == AttentionAxis::rows ? Dims{0, 1, 3, 2, 4} : Dims{0, 2, 3, 1, 4});
}

}  // namespace

Linear plain_linear(Builder& b, std::string_view name, int64_t in, int64_t out) {
  return Linear(b, name, in, out, false, Init::lecun(in));
}

Linear zero_linear(Builder& b, std::string_view name, int64_t in, int64_t out) {
  return Linear(b, name, in, out, false, Init::constant(0));
}

Tensor dropout(const Tensor& x, double p, const Dims& shared_axes, const DropoutSource& drop) {
  if (!drop.training || p == 0) return x;
  autograd::Generator& g = autograd::grad_state().generator;
  return ops::dropout(x, p, ops::DropoutKey{g.seed, g.next_stream++}, shared_axes);
}

Attention::Attention(Builder& b, std::string_view n, int64_t c, int64_t h, int64_t d, double p)
    : name(intern(n)), heads(h), width(d), output_dropout(p) {
  ModuleScope scope(name);
  const Init glorot = Init::glorot(c, h * d);
  to_q = Linear(b, "to_q", c, h * d, true, glorot);
  to_kv = Linear(b, "to_kv", c, 2 * h * d, false, glorot);
  to_gates = Linear(b, "to_gates", c, h * d, true, Init::constant(0), -2.0);
  to_out = plain_linear(b, "to_out", h * d, c);
}

Tensor Attention::operator()(TensorList in, const Tensor& bias, const Tensor& hidden, const Tensor& visible,
                             AttentionAxis axis, const DropoutSource& drop) const {
  ModuleScope scope(name);
  const int64_t B = in[0].size(0), X = in[0].size(1), Y = in[0].size(2), inner = heads * width;
  const double scale = 1.0 / std::sqrt(static_cast<double>(width));
  Tensor o;
  {
    Tensor q = split_heads(in[0], heads, axis);
    const Tensor k = split_heads(ops::slice(in[1], -1, 0, inner), heads, axis);
    const Tensor v = split_heads(ops::slice(in[1], -1, inner, 2 * inner), heads, axis);
    in[0] = in[1] = {};
    if (fuses(Fusion::attention)) {
      // [B, batch, L, H, D]; the kernel wants one mask row per batch entry.
      const Tensor mask = visible.defined()
                              ? ops::contiguous(ops::expand(visible, {q.size(0), q.size(1), k.size(3)}))
                              : visible;
      o = ops::attention(q, k, v, mask, bias, {.scale = scale, .causal = false, .mask_value = kHiddenLogit});
      if (axis == AttentionAxis::columns) o = ops::permute(o, {0, 2, 1, 3, 4});
    } else {
      q = ops::scale(q, scale);
      Tensor scores = ops::matmul(q, ops::transpose(k, -2, -1));
      q = {};
      if (bias.defined()) scores = ops::add(scores, bias);
      if (hidden.defined())
        scores = ops::masked_fill(
            scores, ops::reshape(hidden, {hidden.size(0), hidden.size(1), 1, 1, hidden.size(2)}), kHiddenLogit);
      scores = ops::softmax(scores);
      o = ops::matmul(scores, v);
      scores = {};
      o = ops::permute(o, axis == AttentionAxis::rows ? Dims{0, 1, 3, 2, 4} : Dims{0, 3, 1, 2, 4});
    }
  }
  o = dropout(ops::reshape(o, {B, X, Y, inner}), output_dropout, {}, drop);
  if (fuses(Fusion::attention)) {
    o = ops::mul_sigmoid(o, in[2]);
  } else {
    const Tensor gate = ops::sigmoid(in[2]);
    in.clear();
    o = ops::mul(o, gate);
  }
  in.clear();
  return to_out(o);
}

Transition::Transition(Builder& b, std::string_view n, int64_t c, int64_t factor, bool with_norm)
    : name(intern(n)), normalised(with_norm), hidden(factor * c) {
  ModuleScope scope(name);
  if (normalised) norm = LayerNorm(b, "norm", c);
  to_hidden = Linear(b, "to_hidden", c, 2 * hidden, false, Init::he(c));
  to_out = plain_linear(b, "to_out", hidden, c);
}

Tensor Transition::operator()(const Tensor& x) const {
  ModuleScope scope(name);
  if (fuses(Fusion::transition)) {
    const Tensor whole = autograd::in_product_type(to_hidden.weight);
    return ops::swiglu_transition(x, norm.weight, norm.bias, ops::slice(whole, 0, hidden, 2 * hidden),
                                  ops::slice(whole, 0, 0, hidden), to_out.weight, norm.eps);
  }
  Tensor h = normalised ? project(norm, x, {&to_hidden})[0] : to_hidden(x);
  const Tensor value = ops::slice(h, -1, 0, hidden), gate = ops::slice(h, -1, hidden, 2 * hidden);
  h = {};
  return to_out(ops::mul(ops::silu(gate), value));
}

TriangleMultiplication::TriangleMultiplication(Builder& b, std::string_view n, int64_t c, bool out)
    : name(intern(n)), outgoing(out), hidden(c) {
  ModuleScope scope(name);
  norm = LayerNorm(b, "norm", c);
  left_right = plain_linear(b, "left_right", c, 4 * hidden);
  out_gate = plain_linear(b, "out_gate", c, c);
  out_norm = LayerNorm(b, "out_norm", hidden);
  to_out = plain_linear(b, "to_out", hidden, c);
}

Tensor TriangleMultiplication::operator()(const Tensor& z) const {
  ModuleScope scope(name);
  const int64_t h = hidden;
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
  const Tensor left = ops::permute(ops::slice(both, -1, 0, h), outgoing ? Dims{0, 3, 1, 2} : Dims{0, 3, 2, 1});
  const Tensor right =
      ops::permute(ops::slice(both, -1, h, 2 * h), outgoing ? Dims{0, 3, 2, 1} : Dims{0, 3, 1, 2});
  both = {};
  const Tensor mixed = ops::permute(ops::matmul(left, right), {0, 2, 3, 1});
  const Tensor gate = ops::sigmoid(p[1]);
  p.clear();
  return ops::mul(project(out_norm, mixed, {&to_out})[0], gate);
}

TriangleAttention::TriangleAttention(Builder& b, std::string_view n, int64_t c, int64_t heads, int64_t width,
                                     AttentionAxis a)
    : name(intern(n)), axis(a) {
  ModuleScope scope(name);
  norm = LayerNorm(b, "norm", c);
  to_bias = Linear(b, "to_bias", c, heads, false, Init::normal(1.0 / std::sqrt(static_cast<double>(c))));
  attention = Attention(b, "core", c, heads, width);
}

Tensor TriangleAttention::operator()(const Tensor& z) const {
  ModuleScope scope(name);
  TensorList p = project(norm, z, {&attention.to_q, &attention.to_kv, &attention.to_gates, &to_bias});
  const Tensor bias =
      ops::unsqueeze(ops::permute(p[3], axis == AttentionAxis::rows ? Dims{0, 3, 1, 2} : Dims{0, 3, 2, 1}), 1);
  p.pop_back();
  return attention(std::move(p), bias, {}, {}, axis, {});
}

PairBlock::PairBlock(Builder& b, std::string_view n, const Config& c, int64_t channels)
    : name(intern(n)), pair_dropout(c.pair_dropout) {
  const size_t first_parameter = b.count();
  ModuleScope scope(name);
  multiply_outgoing = TriangleMultiplication(b, "multiply_outgoing", channels, true);
  multiply_incoming = TriangleMultiplication(b, "multiply_incoming", channels, false);
  attention_starting =
      TriangleAttention(b, "attention_starting", channels, c.tri_heads, c.tri_width, AttentionAxis::rows);
  attention_ending =
      TriangleAttention(b, "attention_ending", channels, c.tri_heads, c.tri_width, AttentionAxis::columns);
  transition = Transition(b, "transition", channels, c.trunk_transition);
  product_weights = b.product_weights(first_parameter);
}

Tensor PairBlock::operator()(Tensor z, const DropoutSource& drop) const {
  ModuleScope scope(name);
  const autograd::WeightCasts casts(product_weights);
  constexpr int kRowWise = 1, kColumnWise = 2;
  const auto update = [&](const auto& module, int shared_axis) {
    const auto run = [&module](std::span<const Tensor> in) -> TensorList { return {module(in[0])}; };
    z = add_dropped(z, segment(Boundary::sublayer, run, {z})[0], pair_dropout, shared_axis,
                    name_of(module.name), drop);
  };
  update(multiply_outgoing, kRowWise);
  update(multiply_incoming, kRowWise);
  update(attention_starting, kRowWise);
  update(attention_ending, kColumnWise);
  const auto run = [this](std::span<const Tensor> in) -> TensorList { return {transition(in[0])}; };
  return ops::add(z, segment(Boundary::sublayer, run, {z})[0]);
}

PairBias::PairBias(Builder& b, std::string_view n, int64_t c_pair, int64_t heads) : name(intern(n)) {
  ModuleScope scope(name);
  norm = LayerNorm(b, "norm", c_pair);
  to_bias =
      Linear(b, "to_bias", c_pair, heads, false, Init::normal(1.0 / std::sqrt(static_cast<double>(c_pair))));
}

Tensor PairBias::operator()(const Tensor& pair) const {
  ModuleScope scope(name);
  const Tensor bias = project(norm, pair, {&to_bias})[0];
  // [B, N, N, H] -> [B, 1, H, N, N], or windows [B, W, L, L', H] -> [B, W, H, L, L'].
  return bias.rank() == 4 ? ops::unsqueeze(ops::permute(bias, {0, 3, 1, 2}), 1)
                          : ops::permute(bias, {0, 1, 4, 2, 3});
}

PairformerLayer::PairformerLayer(Builder& b, std::string_view n, const Config& c) : name(intern(n)) {
  const size_t first_parameter = b.count();
  ModuleScope scope(name);
  pair_block = PairBlock(b, "pair_block", c, c.c_z);
  ModuleScope inner("single_attention");
  norm = LayerNorm(b, "norm", c.c_s);
  pair_bias = PairBias(b, "pair_bias", c.c_z, c.single_heads);
  attention = Attention(b, "core", c.c_s, c.single_heads, c.single_width, c.single_dropout);
  transition = Transition(b, "single_transition", c.c_s, c.trunk_transition);
  product_weights = b.product_weights(first_parameter);
}

TensorList PairformerLayer::operator()(const Tensor& s0, const Tensor& z0, const DropoutSource& drop) const {
  ModuleScope scope(name);
  const autograd::WeightCasts casts(product_weights);
  const Tensor z = pair_block(z0, drop);
  const auto attend = [this, drop](std::span<const Tensor> in) -> TensorList {
    ModuleScope inner("single_attention");
    const Tensor bias = pair_bias(in[1]);
    TensorList p =
        project(norm, ops::unsqueeze(in[0], 1), {&attention.to_q, &attention.to_kv, &attention.to_gates});
    return {ops::reshape(attention(std::move(p), bias, {}, {}, AttentionAxis::rows, drop), in[0].shape())};
  };
  const auto transit = [this](std::span<const Tensor> in) -> TensorList { return {transition(in[0])}; };
  const Tensor s = ops::add(s0, segment(Boundary::sublayer, attend, {s0, z})[0]);
  return {ops::add(s, segment(Boundary::sublayer, transit, {s})[0]), z};
}

TensorList run_pairformer(const std::vector<std::unique_ptr<PairformerLayer>>& layers, Tensor s, Tensor z,
                          const DropoutSource& drop) {
  for (const auto& layer : layers) {
    const PairformerLayer* l = layer.get();
    TensorList out =
        segment(Boundary::block,
                [l, drop](std::span<const Tensor> v) -> TensorList { return (*l)(v[0], v[1], drop); }, {s, z});
    s = std::move(out[0]);
    z = std::move(out[1]);
  }
  return {s, z};
}

MsaLayer::MsaLayer(Builder& b, std::string_view n, const Config& c)
    : name(intern(n)),
      outer_name(intern("outer_product_mean")),
      averaging_name(intern("pair_weighted_averaging")),
      heads(c.msa_heads),
      width(c.msa_width),
      c_outer(c.c_outer),
      msa_dropout(c.msa_dropout) {
  const size_t first_parameter = b.count();
  ModuleScope scope(name);
  const int64_t inner = heads * width;
  {
    ModuleScope module(outer_name);
    outer_norm = LayerNorm(b, "norm", c.c_msa);
    outer_hidden = plain_linear(b, "to_hidden", c.c_msa, 2 * c_outer);
    outer_out = Linear(b, "to_out", c_outer * c_outer, c.c_z, true, Init::lecun(c_outer * c_outer));
  }
  {
    ModuleScope module(averaging_name);
    averaging_norm = LayerNorm(b, "norm", c.c_msa);
    values_gates = plain_linear(b, "values_gates", c.c_msa, 2 * inner);
    averaging_pair_norm = LayerNorm(b, "pair_norm", c.c_z);
    pair_weights = Linear(b, "pair_weights", c.c_z, heads, false,
                          Init::normal(1.0 / std::sqrt(static_cast<double>(c.c_z))));
    averaging_out = plain_linear(b, "to_out", inner, c.c_msa);
  }
  transition = Transition(b, "msa_transition", c.c_msa, c.trunk_transition);
  pair_block = PairBlock(b, "pair_block", c, c.c_z);
  product_weights = b.product_weights(first_parameter);
}

Tensor MsaLayer::outer_product_mean(const Tensor& m) const {
  ModuleScope scope(outer_name);
  const int64_t S = m.size(1), N = m.size(2), c = c_outer;
  Tensor h = project(outer_norm, m, {&outer_hidden})[0];
  const Tensor left = ops::slice(h, -1, 0, c), right = ops::slice(h, -1, c, 2 * c);
  h = {};
  if (fuses(Fusion::outer_product)) {
    ops::OuterProductMeanOptions options;
    options.normalize = ops::OuterProductMeanOptions::Normalize::divide_before;
    return ops::outer_product_mean(left, right, outer_out.weight, outer_out.bias, {}, options);
  }
  Tensor outer =
      ops::matmul(ops::transpose(ops::reshape(left, {1, S, N * c}), 1, 2), ops::reshape(right, {1, S, N * c}));
  outer = ops::reshape(ops::permute(ops::reshape(outer, {1, N, c, N, c}), {0, 1, 3, 2, 4}), {1, N, N, c * c});
  return outer_out(ops::scale(outer, 1.0 / static_cast<double>(S)));
}

Tensor MsaLayer::pair_weighted_averaging(const Tensor& m, const Tensor& z, const DropoutSource& drop) const {
  ModuleScope scope(averaging_name);
  const int64_t S = m.size(1), N = m.size(2), H = heads, D = width, inner = H * D;
  const Tensor logits = ops::permute(project(averaging_pair_norm, z, {&pair_weights})[0], {0, 3, 1, 2});
  const Tensor weights = ops::unsqueeze(ops::softmax(logits), 1);  // [1, 1, H, N, N]
  Tensor vg = project(averaging_norm, m, {&values_gates})[0];
  const Tensor v = ops::permute(ops::reshape(ops::slice(vg, -1, 0, inner), {1, S, N, H, D}), {0, 1, 3, 2, 4});
  const Tensor gate = ops::slice(vg, -1, inner, 2 * inner);
  vg = {};
  Tensor o = ops::reshape(ops::permute(ops::matmul(weights, v), {0, 1, 3, 2, 4}), {1, S, N, inner});
  o = fuses(Fusion::attention) ? ops::mul_sigmoid(o, gate) : ops::mul(o, ops::sigmoid(gate));
  return dropout(averaging_out(o), msa_dropout, {1}, drop);
}

TensorList MsaLayer::operator()(const Tensor& m0, const Tensor& z0, const DropoutSource& drop) const {
  ModuleScope scope(name);
  const autograd::WeightCasts casts(product_weights);
  const auto outer = [this](std::span<const Tensor> in) -> TensorList { return {outer_product_mean(in[0])}; };
  const auto average = [this, drop](std::span<const Tensor> in) -> TensorList {
    return {pair_weighted_averaging(in[0], in[1], drop)};
  };
  const auto transit = [this](std::span<const Tensor> in) -> TensorList { return {transition(in[0])}; };
  Tensor z = ops::add(z0, segment(Boundary::sublayer, outer, {m0})[0]);
  Tensor m = ops::add(m0, segment(Boundary::sublayer, average, {m0, z})[0]);
  m = ops::add(m, segment(Boundary::sublayer, transit, {m})[0]);
  return {m, pair_block(z, drop)};
}

}  // namespace reckon::models::af3
