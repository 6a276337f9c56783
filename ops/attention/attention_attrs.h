// What the attention kernels need beside tensors, and the extents they read off their inputs.
#pragma once

#include "ops/kernel_args.h"

namespace reckon::ops {

struct AttentionAttrs : Attrs {
  AttentionAttrs(double s, bool c, double m) : scale(s), mask_value(m), causal(c) {}
  double scale, mask_value;
  bool causal;
};

struct AttentionBackwardAttrs : AttentionAttrs {
  AttentionBackwardAttrs(const AttentionAttrs& a, bool q, bool k, bool v, bool b)
      : AttentionAttrs(a), wants_q(q), wants_k(k), wants_v(v), wants_bias(b) {}
  bool wants_q, wants_k, wants_v, wants_bias;
  // Gradients lie in memory in the order of the axes of what they belong to, and are returned as permuted
  // views: axis p of the output is axis axes[p] of q (k, v).
  int q_axes[5] = {0, 1, 2, 3, 4}, k_axes[5] = {0, 1, 2, 3, 4}, v_axes[5] = {0, 1, 2, 3, 4};
  bool wants_scores() const { return wants_q || wants_k || wants_bias; }  // the gradient of the logits
};

inline constexpr int64_t kAttentionBlock = 64;  // queries and keys of a tile

struct AttentionShape {
  int64_t B = 0, N = 0, H = 0, Hkv = 0, Lq = 0, Lk = 0, D = 0;
  bool causal = false;

  RECKON_INLINE int64_t group() const { return H / Hkv; }
  RECKON_INLINE int64_t lead() const { return Lk - Lq; }  // query 0 sees keys 0..lead
  RECKON_INLINE int64_t visible(int64_t i) const { return causal ? i + lead() + 1 : Lk; }
  RECKON_INLINE int64_t visible_pairs() const {  // of one head
    return causal ? Lq * lead() + Lq * (Lq + 1) / 2 : Lq * Lk;
  }
};

RECKON_INLINE AttentionShape attention_shape(const TensorArg& q, const TensorArg& k, bool causal) {
  return {q.shape[0], q.shape[1], q.shape[2], k.shape[2], q.shape[3], k.shape[3], q.shape[4], causal};
}

// Floats of one thread's tiles. Forward: q^T, o^T, k, v, scores and six rows of 64. Backward: two packed
// operands, two accumulators, two converted ones, scores and their gradient, six rows.
RECKON_INLINE int64_t attention_tile_floats(int64_t D, bool backward) {
  return (backward ? 6 : 4) * kAttentionBlock * D + (backward ? 2 : 1) * kAttentionBlock * kAttentionBlock +
         6 * kAttentionBlock;
}

}  // namespace reckon::ops
