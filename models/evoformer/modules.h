// The sub-modules of an Evoformer block (AlphaFold 2 supplement, algorithms 7 to 15). Each returns its update;
// the residual sum is the block's. Parameter names are OpenFold's.
// Shape letters: B batch, S MSA rows, R residues, M = c_m, Z = c_z, H heads, D width per head.
#pragma once

#include "models/evoformer/config.h"
#include "models/nn/attention.h"

namespace reckon::models {

struct MsaRowAttention {
  NameId name{};
  LayerNorm layer_norm_m, layer_norm_z;
  Linear linear_z;
  GatedAttention mha;

  MsaRowAttention() = default;
  MsaRowAttention(Builder& b, std::string_view name, const EvoformerConfig& c);
  Tensor operator()(const Tensor& m_BSRM, const Tensor& z_BRRZ, const Tensor& msa_mask_BSR) const;
};

struct MsaColumnAttention {
  NameId name{};
  LayerNorm layer_norm_m;
  GatedAttention mha;

  MsaColumnAttention() = default;
  MsaColumnAttention(Builder& b, std::string_view name, const EvoformerConfig& c);
  Tensor operator()(const Tensor& m_BSRM, const Tensor& msa_mask_BSR) const;
};

// Column attention of the extra-MSA stack: one query per column, averaged over the rows,
// keys and values shared by heads.
struct MsaColumnGlobalAttention {
  NameId name{}, attention_name{};
  int64_t heads = 0, head_dim = 0;
  double mask_value = 1e9, eps = 1e-10;
  LayerNorm layer_norm_m;
  Linear linear_q, linear_k, linear_v, linear_g, linear_o;

  MsaColumnGlobalAttention() = default;
  MsaColumnGlobalAttention(Builder& b, std::string_view name, int64_t c_m, int64_t heads, int64_t head_dim,
                           double mask_value, double eps = 1e-10);
  // Nothing to fuse: the scores are small.
  Tensor operator()(const Tensor& m_BSRM, const Tensor& msa_mask_BSR) const;
};

struct TriangleAttention {
  NameId name{};
  AttentionAxis axis = AttentionAxis::rows;  // rows: starting node, columns: ending node
  LayerNorm layer_norm;
  Linear linear;  // pair bias
  GatedAttention mha;

  TriangleAttention() = default;
  TriangleAttention(Builder& b, std::string_view name, const PairStackConfig& c, AttentionAxis axis);
  Tensor operator()(const Tensor& z_BRRZ, const Tensor& pair_mask_BRR) const;
};

}  // namespace reckon::models
