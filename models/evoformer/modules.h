// The sub-modules of an Evoformer block (AlphaFold 2 supplement, algorithms 7 to 15). Each returns its update;
// the residual sum is the block's. Parameter names are OpenFold's.
// Shape letters: B batch, S MSA rows, R residues, M = c_m, Z = c_z, H heads, D width per head.
#pragma once

#include <optional>

#include "models/evoformer/config.h"
#include "models/nn/layers.h"

namespace reckon::models {

// Which axis of [B, X, Y, c] attends to itself: `rows` runs along Y with X as batch,
// `columns` along X with Y as batch.
enum class AttentionAxis : uint8_t { rows, columns };

// Which linear layers of an attention have a bias: by default AlphaFold 2's.
struct AttentionBiases {
  bool q = false, gate = true, out = true;
};

// Gated multi-head attention on projections that lie in the layout of the activations;
// nothing is transposed in memory.
struct GatedAttention {
  NameId name{};
  int64_t heads = 0, head_dim = 0;
  double mask_value = 1e9;
  Linear linear_q, linear_k, linear_v, linear_o;
  std::optional<Linear> linear_g;  // the sigmoid gate

  GatedAttention() = default;
  GatedAttention(Builder& b, std::string_view name, int64_t c, int64_t heads, int64_t head_dim, bool gated,
                 double mask_value, AttentionBiases biases = {});

  // q, k, v, gate_BXYhd from the projections (gate undefined when not gated); mask_BXY 0/1 or undefined;
  // bias [B, 1, H, L, L] or undefined. Returns [B, X, Y, c].
  Tensor operator()(TensorList qkvg, const Tensor& mask_BXY, const Tensor& bias, AttentionAxis axis) const;
};

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
                           double mask_value, double eps);
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

// W2 relu(W1 LN(x) + b1) + b2, times the mask when one is given.
struct Transition {
  NameId name{};
  LayerNorm layer_norm;
  Linear linear_1, linear_2;

  Transition() = default;
  Transition(Builder& b, std::string_view name, int64_t c, int64_t n);
  Tensor operator()(const Tensor& x, const Tensor& mask) const;
};

// W (silu(A x) * (B x)) with x = LN(input), no biases (AlphaFold 3, algorithm 11).
struct SwigluTransition {
  NameId name{};
  LayerNorm layer_norm;
  Linear linear_a, linear_b, linear_out;

  SwigluTransition() = default;
  SwigluTransition(Builder& b, std::string_view name, int64_t c, int64_t n);
  Tensor operator()(const Tensor& x) const;
};

// What the sum over rows is divided by: nothing (bioformer), eps + count after the projection and its bias
// (AlphaFold 2), or max(count, 1) before the projection (Boltz).
enum class OuterDivision : uint8_t { none, after_projection, before_projection };

struct OuterProductMean {
  NameId name{};
  double eps = 1e-3;
  LayerNorm layer_norm;
  Linear linear_1, linear_2, linear_out;

  OuterProductMean() = default;
  OuterProductMean(Builder& b, std::string_view name, int64_t c_m, int64_t c_hidden, int64_t c_z,
                   bool input_biases = true);
  Tensor operator()(const Tensor& m_BSRM, const Tensor& msa_mask_BSR,
                    OuterDivision division = OuterDivision::after_projection) const;
};

struct TriangleMultiplication {
  NameId name{};
  bool outgoing = true;
  LayerNorm layer_norm_in, layer_norm_out;
  Linear linear_a_p, linear_a_g, linear_b_p, linear_b_g, linear_z, linear_g;
  // Instead of the four, when weights are fused; a is the first half.
  std::optional<Linear> linear_ab_p, linear_ab_g;

  TriangleMultiplication() = default;
  TriangleMultiplication(Builder& b, std::string_view name, const PairStackConfig& c, bool outgoing);
  Tensor operator()(const Tensor& z_BRRZ, const Tensor& pair_mask_BRR) const;

 private:
  Tensor eager(const Tensor& z_BRRZ, const Tensor& pair_mask_BRR) const;
  Tensor fused(const Tensor& z_BRRZ, const Tensor& pair_mask_BRR) const;
};

}  // namespace reckon::models
