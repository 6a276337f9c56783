// Backward attention in f32 arithmetic: the same three kernels as for the tensor
// cores, each owning what it sums.
#pragma once

#include "ops/attention/attention_backward.cuh"
#include "ops/attention/attention_fma_tiles.cuh"

namespace reckon::ops::gpu {

// Bytes of `tiles` operands, the scores where they are kept, and four rows: key terms, maximum, log of the sum, delta.
template <int kWidth>
constexpr size_t backward_fma_bytes(int tiles, bool keeps_scores) {
  using Tiles = FmaTiles<kWidth>;
  return sizeof(float) *
         (static_cast<size_t>(tiles) * Tiles::kTile + (keeps_scores ? Tiles::kScores : 0) + 4 * Tiles::kEdge);
}

// What the three kernels do with a tile's scores; `rows`: as above.
template <int kWidth>
struct BackwardTile {
  using Tiles = FmaTiles<kWidth>;
  static constexpr int kEdge = Tiles::kEdge, kPart = Tiles::kPart;

  // By the first threads of the block. Behind the last query probabilities are of no use, but must be finite.
  __device__ __forceinline__ static void load_queries(float* rows, const AttentionProblem& p,
                                                      const float* statistics, const float* delta,
                                                      int64_t head_row, int first) {
    const int thread = threadIdx.x;
    if (thread >= kEdge) return;
    const bool inside = first + thread < p.Lq;
    const int64_t row = head_row + first + thread;
    rows[kEdge + thread] = inside ? statistics[row] : INFINITY;
    rows[2 * kEdge + thread] = inside ? statistics[p.rows() + row] : 0.0f;
    rows[3 * kEdge + thread] = inside && delta ? delta[row] : 0.0f;
  }
  __device__ __forceinline__ static void load_keys(float* rows, const KeyTerms& terms, int first) {
    const int thread = threadIdx.x;
    if (thread < kEdge) rows[thread] = terms.term(first + thread, terms.fetch(first + thread));
  }

  __device__ __forceinline__ static void probabilities(typename Tiles::Scores& s, const AttentionProblem& p,
                                                       const float* queries, const float* keys,
                                                       const float* rows, int64_t bias_at, int i0, int j0) {
    Tiles::multiply(s, queries, keys);
    Tiles::finish_logits(s, p, rows, bias_at, i0, j0);
#pragma unroll
    for (int r = 0; r < kPart; ++r)
#pragma unroll
      for (int c = 0; c < kPart; ++c) {
        const float* const row = rows + kEdge + Tiles::ty() + 16 * r;
        s[r][c] = expf((s[r][c] - row[0]) - row[kEdge]);
      }
  }
  // s: probabilities, then the gradients of the logits.
  __device__ __forceinline__ static void gradients(typename Tiles::Scores& s, const float* gradients,
                                                   const float* values, const float* rows) {
    typename Tiles::Scores product;
    Tiles::multiply(product, gradients, values);
#pragma unroll
    for (int r = 0; r < kPart; ++r)
#pragma unroll
      for (int c = 0; c < kPart; ++c) s[r][c] *= product[r][c] - rows[3 * kEdge + Tiles::ty() + 16 * r];
  }
  // The part of a tile of a bias's gradient that exists.
  __device__ __forceinline__ static void store_scores(const typename Tiles::Scores& s,
                                                      const AttentionProblem& p, const Heads& to, int64_t at,
                                                      int i0, int j0) {
    const Elements cells{to.data, to.dtype};
#pragma unroll
    for (int r = 0; r < kPart; ++r)
#pragma unroll
      for (int c = 0; c < kPart; ++c) {
        const int i = i0 + Tiles::ty() + 16 * r, j = j0 + Tiles::tx() + 16 * c;
        if (i < p.Lq && j < p.Lk) store(cells, at + i * to.row + j, s[r][c]);
      }
  }
};

template <int kWidth>
__global__ void __launch_bounds__(kFmaThreads, 2)
    attention_dk_dv_fma(AttentionProblem p, Heads g, const float* statistics, const float* delta, Heads dk,
                        Heads dv, int key_tiles) {
  using Tiles = FmaTiles<kWidth>;
  using Tile = BackwardTile<kWidth>;
  constexpr int kEdge = Tiles::kEdge, kPart = Tiles::kPart;
  RECKON_DYNAMIC_SHARED(float, keys);
  float *const values = keys + Tiles::kTile, *const queries = values + Tiles::kTile,
               *const gradients = queries + Tiles::kTile, *const cells = gradients + Tiles::kTile,
               *const rows = cells + Tiles::kScores;
  const HeadTile at(blockIdx.x, gridDim.x, p.N, p.Hkv, key_tiles,
                    p.causal ? TileOrder::folded : TileOrder::in_turn);
  const int first = at.tile * kEdge, hk = at.h,
            first_query = p.causal && first > p.lead() ? (first - p.lead()) / kEdge * kEdge : 0;
  Tiles::load(keys, p.k, p.k.at(at.b, at.n, hk) + first * p.k.row, p.Lk - first, p.D);
  Tiles::load(values, p.v, p.v.at(at.b, at.n, hk) + first * p.v.row, p.Lk - first, p.D);
  Tile::load_keys(rows, KeyTerms(p, at.b, at.n), first);
  typename Tiles::Sums dk_sums, dv_sums;
  Tiles::clear(dk_sums);
  Tiles::clear(dv_sums);
  for (int h = hk * p.group(); h < (hk + 1) * p.group(); ++h)
    for (int i0 = first_query; i0 < p.Lq; i0 += kEdge) {
      __syncthreads();
      Tiles::load(queries, p.q, p.q.at(at.b, at.n, h) + i0 * p.q.row, p.Lq - i0, p.D);
      Tiles::load(gradients, g, g.at(at.b, at.n, h) + i0 * g.row, p.Lq - i0, p.D);
      Tile::load_queries(rows, p, statistics, delta, p.head_row(at.b, at.n, h), i0);
      __syncthreads();
      typename Tiles::Scores s;
      Tile::probabilities(s, p, queries, keys, rows, p.bias.at(at.b, at.n, h), i0, first);
      if (dv) {
        Tiles::keep_scores(cells, s);
        __syncthreads();
        Tiles::add_transposed_product(dv_sums, cells, gradients);
      }
      if (dk) {
        Tile::gradients(s, gradients, values, rows);
        __syncthreads();
        Tiles::keep_scores(cells, s);
        __syncthreads();
        Tiles::add_transposed_product(dk_sums, cells, queries);
      }
    }
#pragma unroll
  for (int r = 0; r < kPart; ++r) {
    const int j = first + kPart * Tiles::ty() + r;
    if (j >= p.Lk) continue;
    if (dk) Tiles::store_row(dk_sums[r], p.scale, dk, dk.at(at.b, at.n, hk) + j * dk.row, p.D);
    if (dv) Tiles::store_row(dv_sums[r], 1.0f, dv, dv.at(at.b, at.n, hk) + j * dv.row, p.D);
  }
}

template <int kWidth>
__global__ void __launch_bounds__(kFmaThreads, 2)
    attention_dq_fma(AttentionProblem p, Heads g, const float* statistics, const float* delta, Heads dq,
                     Heads dbias, int query_tiles) {
  using Tiles = FmaTiles<kWidth>;
  using Tile = BackwardTile<kWidth>;
  constexpr int kEdge = Tiles::kEdge, kPart = Tiles::kPart;
  RECKON_DYNAMIC_SHARED(float, queries);
  float *const gradients = queries + Tiles::kTile, *const keys = gradients + Tiles::kTile,
               *const values = keys + Tiles::kTile, *const cells = values + Tiles::kTile,
               *const rows = cells + Tiles::kScores;
  const HeadTile at(blockIdx.x, gridDim.x, p.N, p.H, query_tiles,
                    p.causal ? TileOrder::last_first : TileOrder::in_turn);
  const int first = at.tile * kEdge, hk = at.h / p.group(), seen = p.keys_until(min(first + kEdge, p.Lq) - 1);
  const int64_t bias_at = p.bias.at(at.b, at.n, at.h), dbias_at = dbias.at(at.b, at.n, at.h);
  const KeyTerms key_terms(p, at.b, at.n);
  Tiles::load(queries, p.q, p.q.at(at.b, at.n, at.h) + first * p.q.row, p.Lq - first, p.D);
  Tiles::load(gradients, g, g.at(at.b, at.n, at.h) + first * g.row, p.Lq - first, p.D);
  Tile::load_queries(rows, p, statistics, delta, p.head_row(at.b, at.n, at.h), first);
  typename Tiles::Sums sums;
  Tiles::clear(sums);
  int j0 = 0;
  for (; j0 < seen; j0 += kEdge) {
    __syncthreads();
    Tiles::load(keys, p.k, p.k.at(at.b, at.n, hk) + j0 * p.k.row, p.Lk - j0, p.D);
    Tiles::load(values, p.v, p.v.at(at.b, at.n, hk) + j0 * p.v.row, p.Lk - j0, p.D);
    Tile::load_keys(rows, key_terms, j0);
    __syncthreads();
    typename Tiles::Scores s;
    Tile::probabilities(s, p, queries, keys, rows, bias_at, first, j0);
    Tile::gradients(s, gradients, values, rows);
    if (dbias) Tile::store_scores(s, p, dbias, dbias_at, first, j0);
    if (!dq) continue;
    Tiles::keep_scores(cells, s);
    __syncthreads();
    Tiles::add_product(sums, cells, keys);
  }
  for (typename Tiles::Scores none = {}; dbias && j0 < p.Lk; j0 += kEdge)
    Tile::store_scores(none, p, dbias, dbias_at, first, j0);  // seen by no query
#pragma unroll
  for (int r = 0; r < kPart; ++r) {
    const int i = first + Tiles::ty() + 16 * r;
    if (dq && i < p.Lq) Tiles::store_row(sums[r], p.scale, dq, dq.at(at.b, at.n, at.h) + i * dq.row, p.D);
  }
}

template <int kWidth>
__global__ void __launch_bounds__(kFmaThreads, 2)
    attention_dbias_fma(AttentionProblem p, Heads g, const float* statistics, const float* delta, Heads to,
                        int64_t to_range, SharedBias shared_bias) {
  using Tiles = FmaTiles<kWidth>;
  using Tile = BackwardTile<kWidth>;
  constexpr int kEdge = Tiles::kEdge, kPart = Tiles::kPart;
  RECKON_DYNAMIC_SHARED(float, queries);
  float *const gradients = queries + Tiles::kTile, *const keys = gradients + Tiles::kTile,
               *const values = keys + Tiles::kTile, *const rows = values + Tiles::kTile;
  const BiasTile at(blockIdx.x, shared_bias, p.H);
  const int first_query = at.query_tile * kEdge, first_key = at.key_tile * kEdge, hk = at.h / p.group();
  const int shared_n = p.N / shared_bias.own_n;
  const int last =
      p.causal && first_key > first_query + kEdge - 1 + p.lead() ? 0 : shared_bias.first(p, at.range + 1);
  typename Tiles::Scores sums = {};
  for (int sharer = shared_bias.first(p, at.range); sharer < last; ++sharer) {
    const int b = at.b + sharer / shared_n, n = at.n + sharer % shared_n;
    __syncthreads();
    Tiles::load(queries, p.q, p.q.at(b, n, at.h) + first_query * p.q.row, p.Lq - first_query, p.D);
    Tiles::load(gradients, g, g.at(b, n, at.h) + first_query * g.row, p.Lq - first_query, p.D);
    Tiles::load(keys, p.k, p.k.at(b, n, hk) + first_key * p.k.row, p.Lk - first_key, p.D);
    Tiles::load(values, p.v, p.v.at(b, n, hk) + first_key * p.v.row, p.Lk - first_key, p.D);
    Tile::load_queries(rows, p, statistics, delta, p.head_row(b, n, at.h), first_query);
    Tile::load_keys(rows, KeyTerms(p, b, n), first_key);
    __syncthreads();
    typename Tiles::Scores s;
    Tile::probabilities(s, p, queries, keys, rows, p.bias.at(b, n, at.h), first_query, first_key);
    Tile::gradients(s, gradients, values, rows);
#pragma unroll
    for (int r = 0; r < kPart; ++r)
#pragma unroll
      for (int c = 0; c < kPart; ++c) sums[r][c] += s[r][c];
  }
  Tile::store_scores(sums, p, to, at.range * to_range + to.at(at.b, at.n, at.h), first_query, first_key);
}

}  // namespace reckon::ops::gpu
