// Forward attention in f32 arithmetic: a block owns the queries of one tile and walks over tiles of keys.
#pragma once

#include "ops/attention/attention_fma_tiles.cuh"

namespace reckon::ops::gpu {

template <int kWidth>
constexpr size_t forward_fma_bytes() {
  using Tiles = FmaTiles<kWidth>;
  return sizeof(float) * (3 * Tiles::kTile + Tiles::kScores + Tiles::kEdge);
}

template <int kWidth>
__global__ void __launch_bounds__(kFmaThreads, 2)
    attention_forward_fma(AttentionProblem p, Heads o, float* statistics, int query_tiles) {
  using Tiles = FmaTiles<kWidth>;
  constexpr int kEdge = Tiles::kEdge, kPart = Tiles::kPart;
  RECKON_DYNAMIC_SHARED(float, queries);
  float *const keys = queries + Tiles::kTile, *const values = keys + Tiles::kTile,
               *const cells = values + Tiles::kTile, *const terms = cells + Tiles::kScores;
  const HeadTile at(blockIdx.x, gridDim.x, p.N, p.H, query_tiles,
                    p.causal ? TileOrder::last_first : TileOrder::in_turn);
  const int first = at.tile * kEdge, seen = p.keys_until(min(first + kEdge, p.Lq) - 1), thread = threadIdx.x;
  const int64_t k_at = p.k.at(at.b, at.n, at.h / p.group()), v_at = p.v.at(at.b, at.n, at.h / p.group()),
                bias_at = p.bias.at(at.b, at.n, at.h);
  const KeyTerms key_terms(p, at.b, at.n);
  Tiles::load(queries, p.q, p.q.at(at.b, at.n, at.h) + first * p.q.row, p.Lq - first, p.D);
  typename Tiles::Sums sums;
  Tiles::clear(sums);
  float top[kPart], total[kPart];
#pragma unroll
  for (int r = 0; r < kPart; ++r) top[r] = -INFINITY, total[r] = 0.0f;

  for (int j0 = 0; j0 < seen; j0 += kEdge) {
    __syncthreads();
    Tiles::load(keys, p.k, k_at + j0 * p.k.row, p.Lk - j0, p.D);
    Tiles::load(values, p.v, v_at + j0 * p.v.row, p.Lk - j0, p.D);
    if (thread < kEdge) terms[thread] = key_terms.term(j0 + thread, key_terms.fetch(j0 + thread));
    __syncthreads();
    typename Tiles::Scores s;
    Tiles::multiply(s, queries, keys);
    Tiles::finish_logits(s, p, terms, bias_at, first, j0);
#pragma unroll
    for (int r = 0; r < kPart; ++r) {
      float largest = top[r];
#pragma unroll
      for (int c = 0; c < kPart; ++c) largest = fmaxf(largest, s[r][c]);
      largest = row_max(largest);
      const float shift = largest > -INFINITY ? largest : 0.0f;  // a row of minus infinity stays one
      const float factor = expf(top[r] - shift);
      top[r] = largest, total[r] *= factor;
#pragma unroll
      for (int c = 0; c < Tiles::kOwn; ++c) sums[r][c] *= factor;
#pragma unroll
      for (int c = 0; c < kPart; ++c) total[r] += s[r][c] = expf(s[r][c] - shift);
    }
    Tiles::keep_scores(cells, s);
    __syncthreads();
    Tiles::add_product(sums, cells, values);
  }

  const int64_t head_row = p.head_row(at.b, at.n, at.h);
#pragma unroll
  for (int r = 0; r < kPart; ++r) {
    const float sum = row_sum(total[r]);
    const int i = first + Tiles::ty() + 16 * r;
    if (i >= p.Lq) continue;
    if (Tiles::tx() == 0) statistics[head_row + i] = top[r], statistics[p.rows() + head_row + i] = logf(sum);
    Tiles::store_row(sums[r], 1.0f / sum, o, o.at(at.b, at.n, at.h) + i * o.row, p.D);
  }
}

}  // namespace reckon::ops::gpu
