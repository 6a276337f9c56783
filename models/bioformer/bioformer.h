// The block of bioformer, a gene-expression transformer with a pair track and no MSA axis: attention with pair
// bias and no gate, a relu transition, and an outer product of every pair of genes that is not averaged.
// Shape letters: B batch, R genes, M = c_m, Z = c_z.
#pragma once

#include "models/nn/attention.h"
#include "models/nn/feed_forward.h"
#include "models/nn/pair_updates.h"

namespace reckon::models {

struct BioformerConfig {
  int64_t c_m = 256, c_z = 128, c_opm = 32, heads = 8;
  int64_t transition_n = 4;
  void validate() const;
  int64_t n_parameters_per_block() const;
};

struct BioformerBlock {
  NameId name{};
  BioformerConfig config;
  LayerNorm layer_norm_m, layer_norm_z;
  Linear linear_z;
  GatedAttention attn;  // not gated
  Transition trans;
  OuterProductMean opm;

  BioformerBlock(Builder& b, std::string_view name, const BioformerConfig& c);
  // {m [B, R, M], z [B, R, R, Z]} after the block.
  TensorList operator()(const Tensor& m_BRM, const Tensor& z_BRRZ) const;
};

}  // namespace reckon::models
