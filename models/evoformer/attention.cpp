// Row, column and triangle attention.
#include <cmath>

#include "models/evoformer/modules.h"
#include "ops/view/view.h"
#include "runtime/events/scope.h"

namespace reckon::models {
namespace {

Linear bias_linear(Builder& b, std::string_view name, int64_t c_z, int64_t heads) {
  return Linear(b, name, c_z, heads, false, Init::normal(1.0 / std::sqrt(static_cast<double>(c_z))));
}

}  // namespace

MsaRowAttention::MsaRowAttention(Builder& b, std::string_view n, const EvoformerConfig& c) : name(intern(n)) {
  ModuleScope scope(name);
  layer_norm_m = LayerNorm(b, "layer_norm_m", c.c_m);
  layer_norm_z = LayerNorm(b, "layer_norm_z", c.c_z);
  linear_z = bias_linear(b, "linear_z", c.c_z, c.heads_msa);
  mha = GatedAttention(b, "mha", c.c_m, c.heads_msa, c.c_hidden_msa, true, c.mask_value);
}

Tensor MsaRowAttention::operator()(const Tensor& m, const Tensor& z, const Tensor& msa_mask) const {
  ModuleScope scope(name);
  const Tensor bias = pair_bias(layer_norm_z, linear_z, z);
  return mha(mha.projections(layer_norm_m, m), msa_mask, bias, AttentionAxis::rows);
}

MsaColumnAttention::MsaColumnAttention(Builder& b, std::string_view n, const EvoformerConfig& c)
    : name(intern(n)) {
  ModuleScope scope(name);
  layer_norm_m = LayerNorm(b, "layer_norm_m", c.c_m);
  mha = GatedAttention(b, "mha", c.c_m, c.heads_msa, c.c_hidden_msa, true, c.mask_value);
}

Tensor MsaColumnAttention::operator()(const Tensor& m, const Tensor& msa_mask) const {
  ModuleScope scope(name);
  return mha(mha.projections(layer_norm_m, m), msa_mask, {}, AttentionAxis::columns);
}

TriangleAttention::TriangleAttention(Builder& b, std::string_view n, const PairStackConfig& c, AttentionAxis a)
    : name(intern(n)), axis(a) {
  ModuleScope scope(name);
  layer_norm = LayerNorm(b, "layer_norm", c.c_z);
  linear = bias_linear(b, "linear", c.c_z, c.heads);
  mha = GatedAttention(b, "mha", c.c_z, c.heads, c.c_hidden, true, c.mask_value,
                       {.q = false, .gate = c.biases, .out = c.biases});
}

Tensor TriangleAttention::operator()(const Tensor& z, const Tensor& pair_mask) const {
  ModuleScope scope(name);
  TensorList p = mha.projections(layer_norm, z, &linear);
  // Starting node: logits of (j, k) get b_jk. Ending node is the starting form on the transposed pair: b_kj.
  const Tensor bias =
      ops::unsqueeze(ops::permute(p[4], axis == AttentionAxis::rows ? Dims{0, 3, 1, 2} : Dims{0, 3, 2, 1}), 1);
  p.pop_back();
  return mha(std::move(p), pair_mask, bias, axis);
}

}  // namespace reckon::models
