// The tiled attention kernel for f32, bf16 and f16. Every sum runs in an order given by the shapes alone: a
// task owns what it writes and walks its tiles in order.
#pragma once

#include "ops/attention/attention_tile.h"

namespace reckon::ops::RECKON_ISA {
namespace {

struct ForwardTiles {
  float *o, *scores, *top, *sum, *shift, *factor, *mask, *operands;
  ForwardTiles(std::byte* base, int64_t slot, int64_t D, bool amx) {
    o = reinterpret_cast<float*>(base) + slot * attention_tile_floats(D, false, amx);
    scores = o + kBlock * D;
    top = scores + kBlock * kBlock, sum = top + kBlock, shift = sum + kBlock, factor = shift + kBlock,
    mask = factor + kBlock, operands = mask + 2 * kBlock;
  }
};

// Takes the tile's scores into the running maximum and sum; leaves exp(score - maximum) in the tile and in
// `factor` what the sums so far must be multiplied by.
inline void running_softmax(const ForwardTiles& t, int64_t nj, int64_t lanes) {
  float *top = t.top, *sum = t.sum, *shift = t.shift, *factor = t.factor;
  for (int64_t i = 0; i < lanes; i += kWidth) {
    Floats largest = load(top + i);
    for (int64_t j = 0; j < nj; ++j) {
      const Floats v = load(t.scores + j * kBlock + i);
      largest = v > largest ? v : largest;
    }
    store(shift + i, largest);
  }
#pragma omp simd
  for (int64_t i = 0; i < lanes; ++i) {
    const float largest = shift[i],
                safe = largest > -__builtin_inff() ? largest : 0.0f;  // a row of -infinity stays one
    factor[i] = k_exp(top[i] - safe);
    top[i] = largest;
    shift[i] = safe;
    sum[i] *= factor[i];
  }
  for (int64_t j = 0; j < nj; ++j) {
    float* row = t.scores + j * kBlock;
#pragma omp simd
    for (int64_t i = 0; i < lanes; ++i) {
      const float p = exp_of_negative(row[i] - shift[i]);
      row[i] = p;
      sum[i] += p;
    }
  }
}

// in q, k, v, key_mask, bias; out o [B, N, Lq, H, D], statistics [2, B, N, H, Lq]; workspace one set of tiles per thread.
template <class Tiles>
inline void attention_tiled(KernelArgs& a) {
  const auto& attrs = a.as<AttentionAttrs>();
  using In = AttentionInput;
  const TensorArg &q = a.in[In::q], &k = a.in[In::k], &v = a.in[In::v], &mask = a.in[In::key_mask],
                  &bias = a.in[In::bias], &o = a.out[AttentionOutput::out],
                  &statistics = a.out[AttentionOutput::statistics];
  const AttentionShape s = attention_shape(q, k, attrs.causal);
  const float scale = static_cast<float>(attrs.scale), mask_value = static_cast<float>(attrs.mask_value);
  const int64_t blocks = blocks_of(s.Lq), n_rows = s.B * s.N * s.H * s.Lq;
  a.launch(0);
  parallel_tasks(a, s.B * s.N * s.H * blocks, kBlock * s.Lk * s.D / 8, [&](int64_t slot, int64_t task) {
    const ForwardTiles t(a.workspace[0], slot, s.D, Tiles::kAmx);
    const Tiles tiles(t.operands, s.D, false);
    const int64_t i0 = task % blocks * kBlock, h = task / blocks % s.H, n = task / blocks / s.H % s.N,
                  b = task / blocks / s.H / s.N;
    const int64_t ni = smaller(kBlock, s.Lq - i0), lanes = padded_lanes(ni), last_key = s.visible(i0 + ni - 1);
    const int64_t hk = h / s.group(), k_at = head_offset(k, b, n, hk), v_at = head_offset(v, b, n, hk);
    const int64_t bias_at = bias.defined() ? head_offset(bias, b, n, h) : 0;
    const auto queries = tiles.lanes(0, q, head_offset(q, b, n, h) + i0 * q.strides[3], q.strides[3], ni);
    for (int64_t i = 0; i < kBlock; ++i) t.top[i] = -__builtin_inff(), t.sum[i] = 0.0f;
    for (int64_t j0 = 0; j0 < last_key; j0 += kBlock) {
      const int64_t nj = smaller(kBlock, last_key - j0);
      const auto keys = tiles.rows(0, k, k_at + j0 * k.strides[3], k.strides[3], nj);
      tiles.product(nj, s.D, tiles.by_rows(keys), queries, t.scores, kBlock, lanes, false);
      mask_terms(mask, b, n, j0, nj, mask_value, t.mask);
      finish_scores_by_query(t.scores, s, scale, t.mask, bias, bias_at, i0, ni, j0, nj, lanes);
      running_softmax(t, nj, lanes);
      if (j0 > 0)
        for (int64_t d = 0; d < s.D; ++d) {
          float* row = t.o + d * kBlock;
#pragma omp simd
          for (int64_t i = 0; i < lanes; ++i) row[i] *= t.factor[i];
        }
      const auto values = tiles.rows(1, v, v_at + j0 * v.strides[3], v.strides[3], nj);
      tiles.product(s.D, nj, tiles.by_columns(1, values, nj), tiles.weights(t.scores, nj, lanes), t.o, kBlock,
                    lanes, j0 > 0);
    }
    float* row = statistics.as<float>() + ((b * s.N + n) * s.H + h) * s.Lq + i0;
    for (int64_t i = 0; i < ni; ++i) {
      t.factor[i] = 1.0f / t.sum[i];
      row[i] = t.top[i], row[n_rows + i] = k_log(t.sum[i]);
    }
    unpack_lanes(t.o, t.factor, ni, s.D, o,
                 b * o.strides[0] + n * o.strides[1] + i0 * o.strides[2] + h * o.strides[3], o.strides[2]);
  });
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA
