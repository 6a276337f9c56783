#include "models/af3/blocks.h"

#include <cmath>

#include "models/nn/feed_forward.h"
#include "ops/binary/binary.h"
#include "ops/matmul/matmul.h"
#include "ops/softmax/softmax.h"
#include "ops/view/view.h"
#include "runtime/events/scope.h"

namespace reckon::models::af3 {

Linear plain_linear(Builder& b, std::string_view name, int64_t in, int64_t out) {
  return Linear(b, name, in, out, false, Init::lecun(in));
}

Linear zero_linear(Builder& b, std::string_view name, int64_t in, int64_t out) {
  return Linear(b, name, in, out, false, Init::constant(0));
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
  const Shape out{in[0].size(0), in[0].size(1), in[0].size(2), heads * width};
  const int64_t inner = heads * width;
  Tensor o;
  {
    Tensor q = split_heads(in[0], heads, axis);
    const Tensor k = split_heads(ops::slice(in[1], -1, 0, inner), heads, axis);
    const Tensor v = split_heads(ops::slice(in[1], -1, inner, 2 * inner), heads, axis);
    in[0] = in[1] = {};
    o = attend(q, k, v, {.masking = Masking::replaced, .mask = visible, .hidden = hidden, .bias = bias}, axis);
  }
  o = dropout(ops::reshape(o, out), output_dropout, {}, drop);
  o = gated(std::move(o), in[2]);
  in.clear();
  return to_out(o);
}

Transition::Transition(Builder& b, std::string_view n, int64_t c, int64_t factor, bool with_norm)
    : name(intern(n)), normalised(with_norm) {
  ModuleScope scope(name);
  const int64_t hidden = factor * c;
  if (normalised) norm = LayerNorm(b, "norm", c);
  to_hidden = Linear(b, "to_hidden", c, 2 * hidden, false, Init::he(c));
  to_out = plain_linear(b, "to_out", hidden, c);
}

Tensor Transition::operator()(const Tensor& x) const {
  ModuleScope scope(name);
  return swiglu_merged(x, normalised ? &norm : nullptr, to_hidden, to_out);
}

TriangleMultiplication::TriangleMultiplication(Builder& b, std::string_view n, int64_t c, bool out)
    : name(intern(n)), outgoing(out) {
  ModuleScope scope(name);
  norm = LayerNorm(b, "norm", c);
  left_right = plain_linear(b, "left_right", c, 4 * c);
  out_gate = plain_linear(b, "out_gate", c, c);
  out_norm = LayerNorm(b, "out_norm", c);
  to_out = plain_linear(b, "to_out", c, c);
}

Tensor TriangleMultiplication::operator()(const Tensor& z) const {
  ModuleScope scope(name);
  return triangle_multiply_merged(z, norm, left_right, out_gate, out_norm, to_out, outgoing);
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
    : pair_dropout(c.pair_dropout) {
  const BlockBuilding building(block, n, b);
  multiply_outgoing = TriangleMultiplication(b, "multiply_outgoing", channels, true);
  multiply_incoming = TriangleMultiplication(b, "multiply_incoming", channels, false);
  attention_starting =
      TriangleAttention(b, "attention_starting", channels, c.tri_heads, c.tri_width, AttentionAxis::rows);
  attention_ending =
      TriangleAttention(b, "attention_ending", channels, c.tri_heads, c.tri_width, AttentionAxis::columns);
  transition = Transition(b, "transition", channels, c.trunk_transition);
}

Tensor PairBlock::operator()(Tensor z, const DropoutSource& drop) const {
  const BlockRun run(block);
  constexpr int kRowWise = 1, kColumnWise = 2;
  const auto update = [&](const auto& module, int shared_axis) {
    const auto run = [&module](auto in) { return module(in[0]); };
    z = add_dropped(z, branch({z}, run), pair_dropout, shared_axis, name_of(module.name), drop);
  };
  update(multiply_outgoing, kRowWise);
  update(multiply_incoming, kRowWise);
  update(attention_starting, kRowWise);
  update(attention_ending, kColumnWise);
  return ops::add(z, branch({z}, [this](auto in) { return transition(in[0]); }));
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

PairformerLayer::PairformerLayer(Builder& b, std::string_view n, const Config& c) {
  const BlockBuilding building(block, n, b);
  pair_block = PairBlock(b, "pair_block", c, c.c_z);
  ModuleScope inner("single_attention");
  norm = LayerNorm(b, "norm", c.c_s);
  pair_bias = PairBias(b, "pair_bias", c.c_z, c.single_heads);
  attention = Attention(b, "core", c.c_s, c.single_heads, c.single_width, c.single_dropout);
  transition = Transition(b, "single_transition", c.c_s, c.trunk_transition);
}

TensorList PairformerLayer::operator()(const Tensor& s0, const Tensor& z0, const DropoutSource& drop) const {
  const BlockRun run(block);
  const Tensor z = pair_block(z0, drop);
  const auto attend = [this, drop](auto in) {
    ModuleScope inner("single_attention");
    const Tensor bias = pair_bias(in[1]);
    TensorList p =
        project(norm, ops::unsqueeze(in[0], 1), {&attention.to_q, &attention.to_kv, &attention.to_gates});
    return ops::reshape(attention(std::move(p), bias, {}, {}, AttentionAxis::rows, drop), in[0].shape());
  };
  const Tensor s = ops::add(s0, branch({s0, z}, attend));
  return {ops::add(s, branch({s}, [this](auto in) { return transition(in[0]); })), z};
}

TensorList run_pairformer(const std::vector<std::unique_ptr<PairformerLayer>>& layers, Tensor s, Tensor z,
                          const DropoutSource& drop) {
  TensorList sz{s, z};
  s = z = {};
  return run_blocks(layers, std::move(sz),
                    [drop](const PairformerLayer& l, auto v) { return l(v[0], v[1], drop); });
}

MsaLayer::MsaLayer(Builder& b, std::string_view n, const Config& c)
    : outer_name(intern("outer_product_mean")),
      averaging_name(intern("pair_weighted_averaging")),
      heads(c.msa_heads),
      width(c.msa_width),
      c_outer(c.c_outer),
      msa_dropout(c.msa_dropout) {
  const BlockBuilding building(block, n, b);
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
}

Tensor MsaLayer::outer_product_mean(const Tensor& m) const {
  ModuleScope scope(outer_name);
  Tensor h = project(outer_norm, m, {&outer_hidden})[0];
  const Tensor left = ops::slice(h, -1, 0, c_outer), right = ops::slice(h, -1, c_outer, 2 * c_outer);
  h = {};
  return outer_product(Tensor(left), Tensor(right), {}, outer_out, OuterDivision::before_projection);
}

Tensor MsaLayer::pair_weighted_averaging(const Tensor& m, const Tensor& z, const DropoutSource& drop) const {
  ModuleScope scope(averaging_name);
  const int64_t S = m.size(1), N = m.size(2), H = heads, D = width, inner = H * D;
  const Tensor logits = ops::permute(project(averaging_pair_norm, z, {&pair_weights})[0], {0, 3, 1, 2});
  const Tensor weights = ops::unsqueeze(ops::softmax(logits), 1);  // [1, 1, H, N, N]
  Tensor vg = project(averaging_norm, m, {&values_gates})[0];
  const Tensor v = ops::permute(ops::reshape(ops::slice(vg, -1, 0, inner), {1, S, N, H, D}), {0, 1, 3, 2, 4});
  Tensor gate = ops::slice(vg, -1, inner, 2 * inner);
  vg = {};
  Tensor o = ops::reshape(ops::permute(ops::matmul(weights, v), {0, 1, 3, 2, 4}), {1, S, N, inner});
  o = gated(std::move(o), gate);
  return dropout(averaging_out(o), msa_dropout, {1}, drop);
}

TensorList MsaLayer::operator()(const Tensor& m0, const Tensor& z0, const DropoutSource& drop) const {
  const BlockRun run(block);
  const auto average = [this, drop](auto in) { return pair_weighted_averaging(in[0], in[1], drop); };
  Tensor z = ops::add(z0, branch({m0}, [this](auto in) { return outer_product_mean(in[0]); }));
  Tensor m = ops::add(m0, branch({m0, z}, average));
  m = ops::add(m, branch({m}, [this](auto in) { return transition(in[0]); }));
  return {m, pair_block(z, drop)};
}

}  // namespace reckon::models::af3
