// What the attention kernels need beside tensors, and the extents they read off their inputs.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

// Positions of inputs and outputs.
struct AttentionInput {
  enum : int { q, k, v, key_mask, bias, n_inputs };
};
struct AttentionOutput {
  enum : int { out, statistics };
};
struct AttentionBackwardInput {
  enum : int { dout, q, k, v, key_mask, bias, out, statistics };
};

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

// A gradient output whose axes lie in another order, in the order of what it belongs to.
RECKON_INLINE TensorArg attention_in_order(const TensorArg& t, const int (&axes)[5]) {
  TensorArg r = t;
  for (int p = 0; p < 5; ++p) r.shape[axes[p]] = t.shape[p], r.strides[axes[p]] = t.strides[p];
  return r;
}

// What backward keeps of a row of logits, [2, B, N, H, Lq]: the maximum, then the logarithm of the sum of
// exp(logit - maximum). They stay apart: beside a maximum of -1e9, as every masked row has, their sum would
// lose the logarithm.
inline constexpr int64_t kAttentionStatistics = 2;

inline constexpr int64_t kMostAttentionWidth = 256;  // per head
inline constexpr int64_t kAttentionBlock = 64;       // queries and keys of a tile

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

// How backward runs, by shapes alone. In one pass a task owns a key/value head, sums dk and dv tile by tile and
// dq over the whole length, 5 products in all. In two passes (few heads in all, a gradient not wanted, or a
// bias shared by the batches) one task owns 64 keys and another one 64 queries, 7 products. A bias shared by
// the rows takes its gradient from `chunks` partial sums, each over a fixed range of the rows.
struct AttentionPasses {
  static constexpr int64_t kFewestTasks = 16, kChunks = 4;
  bool single = false;
  int64_t chunks = 0;
};

RECKON_INLINE AttentionPasses attention_passes(const AttentionShape& s, const AttentionBackwardAttrs& w,
                                               int64_t bias_b, int64_t bias_n) {
  AttentionPasses p;
  if (!(w.wants_q && w.wants_k && w.wants_v)) return p;
  if (w.wants_bias && bias_b != s.B) return p;
  if (w.wants_bias && bias_n != s.N) p.chunks = s.N < p.kChunks ? s.N : p.kChunks;
  p.single = s.B * (p.chunks > 0 ? p.chunks : s.N) * s.Hkv >= p.kFewestTasks;
  if (!p.single) p.chunks = 0;
  return p;
}

// Width of a row of dq's sums: whole pairs of vectors at every instruction set.
RECKON_INLINE int64_t attention_padded_width(int64_t D) { return (D + 31) / 32 * 32; }
RECKON_INLINE int64_t attention_query_sums(const AttentionShape& s) {
  return s.group() * s.Lq * attention_padded_width(s.D);
}

// Whether products of operands of these types (q, k, v; in backward the output's
// gradient too) run on AMX tiles.
template <class... Types>
RECKON_INLINE bool attention_on_amx(int isa_level, Types... types) {
  return isa_level == 3 && ((types == DType::bf16) && ...);
}

// Floats of one thread's tiles. Forward: o^T, scores and six rows of 64. Backward: two accumulators,
// scores and their gradient, six rows. Operands in f32: two converted ones, one (two) packed, in backward
// the keys with padded rows. On AMX in bf16, widths padded to 32: the same, two transposed ones, and one
// (two) forms of a tile of weights.
RECKON_INLINE int64_t attention_tile_floats(int64_t D, bool backward, bool amx) {
  constexpr int64_t block = kAttentionBlock;
  const int64_t width = attention_padded_width(D),
                own = (backward ? 2 : 1) * (block * D + block * block) + 6 * block;
  if (!amx) return own + (backward ? 4 * block * D + block * width : 3 * block * D);
  return own + (backward ? 7 * block * width + 2 * block * block : 5 * block * width + block * block) / 2;
}

// On a GPU the gradient of a bias that rows share has a block for each 64 x 64 tile of it, which walks over
// those rows. Where that makes few blocks, the rows are split into ranges, with a partial sum each.
RECKON_INLINE int64_t attention_bias_sharers(const AttentionShape& s, int64_t bias_b, int64_t bias_n) {
  return (s.B / bias_b) * (s.N / bias_n);
}
RECKON_INLINE int64_t attention_bias_ranges(const AttentionShape& s, int64_t bias_b, int64_t bias_n) {
  constexpr int64_t kEnoughBlocks = 1024, kMostRanges = 16, kFewestRows = 4;
  const int64_t tiles = bias_b * bias_n * s.H * ((s.Lq + 63) / 64) * ((s.Lk + 63) / 64);
  int64_t ranges = (kEnoughBlocks + tiles - 1) / tiles;
  const int64_t most = attention_bias_sharers(s, bias_b, bias_n) / kFewestRows;
  ranges = ranges < most ? ranges : most;
  ranges = ranges < kMostRanges ? ranges : kMostRanges;
  return ranges > 1 ? ranges : 1;
}

}  // namespace reckon::ops
