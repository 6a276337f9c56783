// AlphaFold 3's Pairformer block (algorithm 17) and the MSA module's pair-weighted averaging
// (algorithm 10). The pair updates are the Evoformer's without biases; the single track attends
// with a bias from the pair track.
// Shape letters: B batch, S MSA rows, N tokens, C = c_s, M = c_m, Z = c_z, H heads.
#pragma once

#include "models/evoformer/evoformer.h"
#include "models/pairformer/config.h"

namespace reckon::models {

// Algorithm 24 without conditioning: only q has a bias.
struct AttentionPairBias {
  NameId name{};
  LayerNorm layer_norm_s, layer_norm_z;
  Linear linear_z;
  GatedAttention mha;

  AttentionPairBias() = default;
  AttentionPairBias(Builder& b, std::string_view name, int64_t c_s, int64_t c_z, int64_t heads,
                    double mask_value);
  // mask [B, N] of keys, or undefined.
  Tensor operator()(const Tensor& s_BNC, const Tensor& z_BNNZ, const Tensor& mask_BN) const;
};

// o_si = g_si * sum over j of softmax_j(W z_ij) v_sj: no query, no key, so no logits per row.
struct PairWeightedAveraging {
  NameId name{};
  int64_t heads = 0, head_dim = 0;
  LayerNorm layer_norm_m, layer_norm_z;
  Linear linear_v, linear_g, linear_z, linear_out;

  PairWeightedAveraging() = default;
  PairWeightedAveraging(Builder& b, std::string_view name, int64_t c_m, int64_t c_z, int64_t heads,
                        int64_t head_dim);
  Tensor operator()(const Tensor& m_BSNM, const Tensor& z_BNNZ) const;
};

struct PairformerInputs {
  Tensor pair_mask;    // [B, N, N] or undefined; triangle updates only
  Tensor single_mask;  // [B, N] or undefined; keys of the single attention
  DropoutSource drop;
};

struct PairformerBlock {
  Block block;
  PairStack pair_stack;
  AttentionPairBias attention_pair_bias;
  SwigluTransition single_transition;

  PairformerBlock(Builder& b, std::string_view name, const PairformerConfig& c);
  // {s, z} after the block; the single track sees the new z.
  TensorList operator()(const Tensor& s_BNC, const Tensor& z_BNNZ, const PairformerInputs& in) const;
};

}  // namespace reckon::models
