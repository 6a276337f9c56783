#include "models/pairformer/pairformer.h"

#include <cmath>
#include <utility>

#include "autograd/autocast.h"
#include "ops/matmul/matmul.h"
#include "ops/softmax/softmax.h"
#include "ops/view/view.h"
#include "runtime/events/scope.h"

namespace reckon::models {

using autograd::add_to_residual;

namespace {

Init pair_bias_init(int64_t c_z) { return Init::normal(1.0 / std::sqrt(static_cast<double>(c_z))); }

}  // namespace

AttentionPairBias::AttentionPairBias(Builder& b, std::string_view n, int64_t c_s, int64_t c_z, int64_t heads,
                                     double mask_value)
    : name(intern(n)) {
  ModuleScope scope(name);
  layer_norm_s = LayerNorm(b, "layer_norm_s", c_s);
  layer_norm_z = LayerNorm(b, "layer_norm_z", c_z);
  linear_z = Linear(b, "linear_z", c_z, heads, false, pair_bias_init(c_z));
  mha = GatedAttention(b, "mha", c_s, heads, c_s / heads, true, mask_value,
                       {.q = true, .gate = false, .out = false});
}

Tensor AttentionPairBias::operator()(const Tensor& s, const Tensor& z, const Tensor& mask) const {
  ModuleScope scope(name);
  const int64_t B = s.size(0), N = s.size(1), C = s.size(2);
  const Tensor bias = pair_bias(layer_norm_z, linear_z, z);
  // The single track is one row of an alignment.
  TensorList qkvg = mha.projections(layer_norm_s, ops::reshape(s, {B, 1, N, C}));
  const Tensor row_mask = mask.defined() ? ops::unsqueeze(mask, 1) : mask;
  return ops::reshape(mha(std::move(qkvg), row_mask, bias, AttentionAxis::rows), {B, N, C});
}

PairWeightedAveraging::PairWeightedAveraging(Builder& b, std::string_view n, int64_t c_m, int64_t c_z,
                                             int64_t h, int64_t d)
    : name(intern(n)), heads(h), head_dim(d) {
  ModuleScope scope(name);
  layer_norm_m = LayerNorm(b, "layer_norm_m", c_m);
  layer_norm_z = LayerNorm(b, "layer_norm_z", c_z);
  linear_v = Linear(b, "linear_v", c_m, h * d, false, Init::lecun(c_m));
  linear_g = Linear(b, "linear_g", c_m, h * d, false, Init::constant(0));
  linear_z = Linear(b, "linear_z", c_z, h, false, pair_bias_init(c_z));
  linear_out = Linear(b, "linear_out", h * d, c_m, false, Init::constant(0));
}

Tensor PairWeightedAveraging::operator()(const Tensor& m, const Tensor& z) const {
  ModuleScope scope(name);
  const int64_t B = m.size(0), S = m.size(1), N = m.size(2), H = heads, D = head_dim;
  const Tensor logits = ops::permute(project(layer_norm_z, z, {&linear_z})[0], {0, 3, 1, 2});
  const Tensor weights = ops::unsqueeze(ops::softmax(logits), 1);  // [B, 1, H, N, N]
  TensorList vg = project(layer_norm_m, m, {&linear_v, &linear_g});
  const Tensor v_BSHND = ops::permute(ops::reshape(vg[0], {B, S, N, H, D}), {0, 1, 3, 2, 4});
  Tensor o = ops::reshape(ops::permute(ops::matmul(weights, v_BSHND), {0, 1, 3, 2, 4}), {B, S, N, H * D});
  return linear_out(gated(std::move(o), vg[1]));
}

PairformerBlock::PairformerBlock(Builder& b, std::string_view n, const PairformerConfig& c) {
  c.validate();
  const BlockBuilding building(block, n, b);
  pair_stack = PairStack(b, "pair_stack", c.pair_stack());
  attention_pair_bias =
      AttentionPairBias(b, "attention_pair_bias", c.c_s, c.c_z, c.heads_single, c.single_mask_value);
  single_transition = SwigluTransition(b, "single_transition", c.c_s, c.single_transition_n);
}

TensorList PairformerBlock::operator()(const Tensor& s0, const Tensor& z0, const PairformerInputs& in) const {
  const BlockRun run(block);
  const Tensor z = pair_stack(z0, in.pair_mask, in.drop), mask = in.single_mask;
  const auto attention = [this, mask](auto v) { return attention_pair_bias(v[0], v[1], mask); };
  const Tensor s = add_to_residual(s0, branch({s0, z}, attention));
  return {add_to_residual(s, branch({s}, [this](auto v) { return single_transition(v[0]); })), z};
}

}  // namespace reckon::models
