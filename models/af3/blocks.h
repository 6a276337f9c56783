// The building blocks of the AF3-shaped model's trunk, with the merged projections of public AlphaFold 3 code:
// one weight for keys and values, one for the four parts of a triangle update, one for both halves of a SwiGLU.
// Each returns its update; the residual sum is the block's. Inputs are normalised inside.
// Shape letters: B batch (templates), S MSA rows, N tokens, C channels, X and Y any two
// axes, H heads, D width per head.
#pragma once

#include "models/af3/config.h"
#include "models/nn/attention.h"
#include "models/nn/block.h"
#include "models/nn/dropout.h"
#include "models/nn/pair_updates.h"

namespace reckon::models::af3 {

Linear plain_linear(Builder& b, std::string_view name, int64_t in, int64_t out);  // no bias, LeCun
Linear zero_linear(Builder& b, std::string_view name, int64_t in, int64_t out);   // no bias, starts at 0

// Gated multi-head attention. Queries have a bias, the gate starts nearly closed (-2).
struct Attention {
  NameId name{};
  int64_t heads = 0, width = 0;
  double output_dropout = 0;
  Linear to_q, to_kv, to_gates, to_out;

  Attention() = default;
  Attention(Builder& b, std::string_view name, int64_t c, int64_t heads, int64_t width,
            double output_dropout = 0);

  // q and gates [B, X, Y, H*D], kv [B, X, Y', 2*H*D]; the axis that attends is Y (rows) or X
  // (columns). `bias` [1 or B, 1 or X, H, L, L'] or undefined; `hidden` [1, X, L'] is 1 at keys nobody
  // may see, `visible` its opposite.
  Tensor operator()(TensorList q_kv_gates, const Tensor& bias, const Tensor& hidden, const Tensor& visible,
                    AttentionAxis axis, const DropoutSource& drop) const;
};

// LN, one linear to both halves, silu(second) * first, one linear back. Without
// `norm` the input is taken as it is.
struct Transition {
  NameId name{};
  LayerNorm norm;
  bool normalised = true;
  Linear to_hidden, to_out;

  Transition() = default;
  Transition(Builder& b, std::string_view name, int64_t c, int64_t factor, bool normalised = true);
  Tensor operator()(const Tensor& x) const;
};

struct TriangleMultiplication {
  NameId name{};
  bool outgoing = true;
  LayerNorm norm, out_norm;
  Linear left_right, out_gate, to_out;  // rows of left_right: left, right, their gates

  TriangleMultiplication() = default;
  TriangleMultiplication(Builder& b, std::string_view name, int64_t c, bool outgoing);
  Tensor operator()(const Tensor& z_BNNC) const;
};

struct TriangleAttention {
  NameId name{};
  AttentionAxis axis = AttentionAxis::rows;  // rows: starting node, columns: ending node
  LayerNorm norm;
  Linear to_bias;
  Attention attention;

  TriangleAttention() = default;
  TriangleAttention(Builder& b, std::string_view name, int64_t c, int64_t heads, int64_t width,
                    AttentionAxis axis);
  Tensor operator()(const Tensor& z_BNNC) const;
};

// The five pair updates and their sums. Segments for `sublayer`; the caller marks blocks.
struct PairBlock {
  Block block;
  double pair_dropout = 0;
  TriangleMultiplication multiply_outgoing, multiply_incoming;
  TriangleAttention attention_starting, attention_ending;
  Transition transition;

  PairBlock() = default;
  PairBlock(Builder& b, std::string_view name, const Config& c, int64_t channels);
  Tensor operator()(Tensor z_BNNC, const DropoutSource& drop) const;
};

// Bias [1 or B, 1 or W, H, L, L'] from a pair tensor [.., L, L', C]: norm and one linear.
struct PairBias {
  NameId name{};
  LayerNorm norm;
  Linear to_bias;

  PairBias() = default;
  PairBias(Builder& b, std::string_view name, int64_t c_pair, int64_t heads);
  Tensor operator()(const Tensor& pair) const;
};

struct PairformerLayer {
  Block block;
  PairBlock pair_block;
  LayerNorm norm;
  PairBias pair_bias;
  Attention attention;
  Transition transition;

  PairformerLayer(Builder& b, std::string_view name, const Config& c);
  // {s, z}
  TensorList operator()(const Tensor& s_1NC, const Tensor& z_1NNC, const DropoutSource& drop) const;
};

// Runs the layers, each a `block` segment.
TensorList run_pairformer(const std::vector<std::unique_ptr<PairformerLayer>>& layers, Tensor s, Tensor z,
                          const DropoutSource& drop);

struct MsaLayer {
  Block block;
  NameId outer_name{}, averaging_name{};
  int64_t heads = 0, width = 0, c_outer = 0;
  double msa_dropout = 0;
  LayerNorm outer_norm;
  Linear outer_hidden, outer_out;
  LayerNorm averaging_norm, averaging_pair_norm;
  Linear values_gates, pair_weights, averaging_out;
  Transition transition;
  PairBlock pair_block;

  MsaLayer(Builder& b, std::string_view name, const Config& c);
  // {m, z}
  TensorList operator()(const Tensor& m_1SNC, const Tensor& z_1NNC, const DropoutSource& drop) const;

 private:
  Tensor outer_product_mean(const Tensor& m) const;
  Tensor pair_weighted_averaging(const Tensor& m, const Tensor& z, const DropoutSource& drop) const;
};

}  // namespace reckon::models::af3
