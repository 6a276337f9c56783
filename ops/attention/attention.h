// softmax(scale q k^T + mask + bias) v without the score matrix: tiles of queries and keys
// with a running softmax. Called by model code in place of the eager chain; returns one
// output, the row statistics stay inside.
//
// q [B, N, H, Lq, D], k and v [B, N, Hkv, Lk, D] with H % Hkv == 0 (grouped queries) and D <= 256; any strides
// but a unit one on the last axis, so permuted views of [B, N, L, H*D] need no copy. key_mask (optional) [B, N,
// Lk] of 0/1 adds (1 - mask) mask_value to the logits and has no gradient; the value is finite, so a row
// without any key is uniform in f32. bias (optional) [B or 1, N or 1, H, Lq, Lk] is added after the mask and
// broadcast; its gradient is summed over the broadcast axes in a fixed order. causal: query i sees keys j <= i
// + (Lk - Lq); needs Lk >= Lq. Softmax in f32 (f64 for f64). Result: contiguous [B, N, Lq, H, D] of q's type,
// so merging heads is a view.
//
// Products and softmax are f32. Where q, k and v are bf16 and the processor has AMX, operands of products are
// bf16 with sums in f32: probabilities and gradients of scores are rounded before they are multiplied.
//
// Keeps q, k, v, key_mask, bias, the result and two f32 per row (attention_attrs.h). The forward workspace does
// not grow with Lq or Lk. Backward has one f32 per row and, in one pass (attention_attrs.h says when),
// per thread one head's dq in f32 and up to four partial sums of dbias; in two passes a summed 16-bit
// dbias in f32. On a GPU forward has no workspace, and backward one f32 per row and, where rows share a
// bias, up to 16 partial sums of dbias.
//
// Cost with P = the visible (query, key) pairs of all heads (causal: B N H (Lq (Lk - Lq) + Lq (Lq + 1) / 2)):
//   forward 4 P D matmul FLOPs, backward 10 P D (5 products; two passes compute two of them twice, which is the
//   implementation's and not counted).
#pragma once

#include "ops/op.h"

namespace reckon::ops {

struct AttentionOptions {
  double scale = 1.0;
  bool causal = false;
  double mask_value = -1e9;
};

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& key_mask, const Tensor& bias,
                 const AttentionOptions& options);

}  // namespace reckon::ops
