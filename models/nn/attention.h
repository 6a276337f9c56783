// Gated multi-head attention on projections that lie in the layout of the activations; nothing is transposed
// in memory. The choice between the fused op and its composition is made here, for every family.
// Shape letters: B batch, X and Y the two axes of the activations, N and L the one that is batch and the one
// that attends, H heads, D width per head.
#pragma once

#include <optional>

#include "models/nn/layers.h"

namespace reckon::models {

// Which axis of [B, X, Y, c] attends to itself: `rows` runs along Y with X as batch,
// `columns` along X with Y as batch.
enum class AttentionAxis : uint8_t { rows, columns };

// Logits that are masked by sum (AlphaFold 2) or by replacement (AlphaFold 3).
enum class Masking : uint8_t { added, replaced };

// What the logits get besides q k^T. All may be undefined.
struct LogitTerms {
  Masking masking = Masking::added;
  Tensor mask{};       // [B, N, L'] (replaced: [1, N, L']), 1 at keys that are visible
  Tensor hidden{};     // replaced only: the mask's opposite
  Tensor bias{};       // [1 or B, 1 or N, H, L, L']
  double value = 1e9;  // subtracted from hidden logits, or put in their place with a minus
};

// [B, X, Y, H*D] seen as [B, N, H, L, D].
Tensor split_heads(const Tensor& t, int64_t heads, AttentionAxis axis);
// q, k, v [B, N, H, L, D] -> [B, X, Y, H, D]. Masking by replacement drops q once it is scaled.
Tensor attend(Tensor& q, const Tensor& k, const Tensor& v, const LogitTerms& terms, AttentionAxis axis);
// o * sigmoid(logits). The composition drops the logits once they are used.
Tensor gated(Tensor o, Tensor& logits);

// Attention of decoders: each query sees the keys up to its own position, and query heads share keys and
// values. q [B, A, S, D], k and v [B, K, T, D] -> [B, S, A, D]; key_mask [B, 1, T] or undefined.
Tensor attend_causal(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& key_mask,
                     const Tensor& causal_bias);
// What the composition of attend_causal adds to its logits, [queries, keys]; undefined when fused.
Tensor make_causal_bias(Device& device, int64_t queries, int64_t keys, DType dtype);

// Bias [B, 1, H, L, L] of the logits from a pair tensor [B, L, L, c]: norm and one linear.
Tensor pair_bias(const LayerNorm& norm, const Linear& linear, const Tensor& pair);

// Which linear layers of an attention have a bias: by default AlphaFold 2's.
struct AttentionBiases {
  bool q = false, gate = true, out = true;
};

struct GatedAttention {
  NameId name{};
  int64_t heads = 0, head_dim = 0;
  double mask_value = 1e9;
  Linear linear_q, linear_k, linear_v, linear_o;
  std::optional<Linear> linear_g;  // the sigmoid gate

  GatedAttention() = default;
  GatedAttention(Builder& b, std::string_view name, int64_t c, int64_t heads, int64_t head_dim, bool gated,
                 double mask_value, AttentionBiases biases = {});

  // q, k, v and the gate's logits from one norm, and `also` from the same.
  TensorList projections(const LayerNorm& norm, const Tensor& x, const Linear* also = nullptr) const;
  // From the projections; mask_BXY 0/1 or undefined; bias [B, 1, H, L, L] or undefined. Returns [B, X, Y, c].
  Tensor operator()(TensorList qkvg, const Tensor& mask_BXY, const Tensor& bias, AttentionAxis axis) const;
};

}  // namespace reckon::models
