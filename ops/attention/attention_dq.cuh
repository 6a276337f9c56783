// Gradients of queries, and of a bias that no two rows share, on the tensor cores: a block owns 64 or 128
// queries of one head, a warp 16 or 32 of them, and walks over tiles of keys.
#pragma once

#include "ops/attention/attention_tiles.cuh"

namespace reckon::ops::gpu {

// kTiles: 16-row tiles of a warp, as in the forward kernel; registers allow two of them up to a width of 64.
template <class T, int kWidth, int kTiles>
struct QueryTiles {
  static constexpr int kQueries = 64 * kTiles, kKeys = kWidth <= 64 ? 64 : 32, kRow = kTileRow<kWidth>;
  static constexpr size_t kBytes = sizeof(T) * kRow * (2 * kQueries + 4 * kKeys) + sizeof(float) * 2 * kKeys;
  static constexpr int kBlocks =
      kWidth == 256 ? 1 : (kWidth == 32 && kTiles == 1 ? 3 : 2);  // of an SM, by registers
};

// Statistics of a thread's two queries in a 16-row tile.
struct QueryRows {
  float top[2], log_sum[2], delta[2];

  // From the cells of the first; the second is eight behind.
  __device__ __forceinline__ void read(const float* top_cell, const float* log_sum_cell,
                                       const float* delta_cell, bool first = true, bool second = true) {
    top[0] = first ? top_cell[0] : 0.0f, top[1] = second ? top_cell[8] : 0.0f;
    log_sum[0] = first ? log_sum_cell[0] : 0.0f, log_sum[1] = second ? log_sum_cell[8] : 0.0f;
    delta[0] = first ? delta_cell[0] : 0.0f, delta[1] = second ? delta_cell[8] : 0.0f;
  }
  __device__ __forceinline__ bool near() const {
    return fabsf(top[0] + log_sum[0]) < kNear && fabsf(top[1] + log_sum[1]) < kNear;
  }
  // Of 16 queries and a group of 32 keys; is_near: every lane's near().
  __device__ __forceinline__ void to_probabilities(float (*logits)[4], bool is_near) const {
    with_flag(is_near, [&](auto flag) {
#pragma unroll
      for (int u = 0; u < 4; ++u)
#pragma unroll
        for (int r = 0; r < 4; ++r)
          logits[u][r] = probability<decltype(flag)::value>(logits[u][r], top[r / 2], log_sum[r / 2]);
    });
  }
};

// g: the gradient of the output. dq, dbias: absent where not wanted.
template <class T, int kWidth, int kTiles>
__global__ void __launch_bounds__(kAttentionThreads, (QueryTiles<T, kWidth, kTiles>::kBlocks))
    attention_dq_mma(AttentionProblem p, Heads g, const float* statistics, const float* delta, Heads dq,
                     Heads dbias, int query_tiles) {
  using Tiles = QueryTiles<T, kWidth, kTiles>;
  constexpr int kQueries = Tiles::kQueries, kKeys = Tiles::kKeys, kRow = Tiles::kRow;
  RECKON_DYNAMIC_SHARED(T, queries);
  T* const gradients = queries + kQueries * kRow;
  T* const keys = gradients + kQueries * kRow;  // two stages of keys and values
  float* const terms = reinterpret_cast<float*>(keys + 4 * kKeys * kRow);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, t = lane % 4, thread = threadIdx.x;
  const HeadTile at(blockIdx.x, gridDim.x, p.N, p.H, query_tiles,
                    p.causal ? TileOrder::last_first : TileOrder::in_turn);
  const int first = at.tile * kQueries, own = first + warp * 16 * kTiles, hk = at.h / p.group();
  const int seen = p.keys_until(min(first + kQueries, p.Lq) - 1), tiles = (seen + kKeys - 1) / kKeys;
  const int own_seen = own < p.Lq ? p.keys_until(own + 16 * kTiles - 1) : 0;
  const T* const k_head = static_cast<const T*>(p.k.data) + p.k.at(at.b, at.n, hk);
  const T* const v_head = static_cast<const T*>(p.v.data) + p.v.at(at.b, at.n, hk);
  const KeyTerms key_terms(p, at.b, at.n);
  const BiasRows bias(p, at.b, at.n, at.h);

  const auto load_keys = [&](int tile) {
    T* const to = keys + tile % 2 * 2 * kKeys * kRow;
    const int j = tile * kKeys;
    load_tile<T, kKeys, kWidth, true>(to, k_head + j * p.k.row, p.k.row, p.Lk - j, p.D);
    load_tile<T, kKeys, kWidth, true>(to + kKeys * kRow, v_head + j * p.v.row, p.v.row, p.Lk - j, p.D);
  };
  const int query = own + lane / 4;
  uint4 bits[kTiles][2];
  const auto fetch_bias = [&](int j) {
#pragma unroll
    for (int m = 0; m < kTiles; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) bits[m][half] = bias.fetch(query + 16 * m + 8 * half, j + 8 * t);
  };

  load_tile<T, kQueries, kWidth>(queries,
                                 static_cast<const T*>(p.q.data) + p.q.at(at.b, at.n, at.h) + first * p.q.row,
                                 p.q.row, p.Lq - first, p.D);
  load_tile<T, kQueries, kWidth>(gradients,
                                 static_cast<const T*>(g.data) + g.at(at.b, at.n, at.h) + first * g.row, g.row,
                                 p.Lq - first, p.D);
  load_keys(0);
  if (thread < kKeys) terms[thread] = key_terms.term(thread, key_terms.fetch(thread));
  const int64_t head_row = p.head_row(at.b, at.n, at.h);
  QueryRows rows[kTiles];
  bool near = true;
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
    const int row = query + 16 * m;
    const float* const top = statistics + head_row + row;
    rows[m].read(top, top + p.rows(), delta + head_row + row, row < p.Lq, row + 8 < p.Lq);
    near = near && rows[m].near();
  }
  near = __all_sync(0xffffffffu, near);
  if (bias.fetches()) fetch_bias(0);
  copy_async_wait();
  __syncthreads();
  LeftRows<T, kWidth> query_rows[kTiles];
  LeftRows<T, kWidth, (kWidth * kTiles <= 64)> gradient_rows[kTiles];
  float sums[kTiles][kWidth / 8][4];
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
    query_rows[m].set(queries + (warp * kTiles + m) * 16 * kRow, lane);
    gradient_rows[m].set(gradients + (warp * kTiles + m) * 16 * kRow, lane);
#pragma unroll
    for (int c = 0; c < kWidth / 8; ++c) sums[m][c][0] = sums[m][c][1] = sums[m][c][2] = sums[m][c][3] = 0.0f;
  }
  const Elements bias_to{dbias.data, dbias.dtype};
  const int64_t bias_at = dbias.at(at.b, at.n, at.h);

  for (int tile = 0; tile < tiles; ++tile) {
    if (tile > 0) {
      copy_async_wait();
      __syncthreads();
    }
    const int stage = tile % 2, j0 = tile * kKeys;
    const bool more = tile + 1 < tiles;
    unsigned fetched = 0;
    if (more) {
      load_keys(tile + 1);
      if (thread < kKeys) fetched = key_terms.fetch(j0 + kKeys + thread);
    }
    const int until = min(j0 + kKeys, own_seen);
#pragma unroll 1
    for (int j = j0; j < until; j += 32) {
      const T* const k_rows = keys + (stage * 2 * kKeys + j - j0) * kRow;
      float weights[kTiles][4][4], products[kTiles][4][4];
      multiply_rows<T>(weights, query_rows, k_rows, lane);
#pragma unroll
      for (int m = 0; m < kTiles; ++m) scale_and_mask(weights[m], p.scale, terms + stage * kKeys + j - j0, t);
      if (bias)
        with_bias_type(bias.dtype, [&](auto type) {
#pragma unroll
          for (int m = 0; m < kTiles; ++m)
            add_bias<decltype(type)::value>(weights[m], bias, bits[m], query + 16 * m, j + 8 * t);
        });
      if (bias.fetches() && j + 32 < own_seen) fetch_bias(j + 32);
      if (p.causal && j + 31 > own + p.lead()) {
#pragma unroll
        for (int m = 0; m < kTiles; ++m) hide_later_keys(weights[m], query + 16 * m, p.lead(), j, t);
      }
#pragma unroll
      for (int m = 0; m < kTiles; ++m) rows[m].to_probabilities(weights[m], near);
      multiply_rows<T>(products, gradient_rows, k_rows + kKeys * kRow, lane);
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
#pragma unroll
        for (int u = 0; u < 4; ++u)
#pragma unroll
          for (int r = 0; r < 4; ++r) weights[m][u][r] *= products[m][u][r] - rows[m].delta[r / 2];
        if (!dbias) continue;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float v[8];
#pragma unroll
          for (int i = 0; i < 8; ++i) v[i] = weights[m][i / 2][2 * half + i % 2];
          const int row = query + 16 * m + 8 * half;
          if (row < p.Lq)
            store_bias_gradient(bias_to, dbias.by_eight, bias_at + row * dbias.row, j + 8 * t, p.Lk, v);
        }
      }
      if (dq) add_weighted_rows<T, kRow>(sums, weights, k_rows, lane);
    }
    if (more && thread < kKeys)
      terms[(stage ^ 1) * kKeys + thread] = key_terms.term(j0 + kKeys + thread, fetched);
  }

  if (own >= p.Lq) return;
  if (dbias)  // keys that none of the warp's queries sees
    for (int row = own; row < min(own + 16 * kTiles, p.Lq); ++row)
      for (int key = (own_seen + 31) / 32 * 32 + lane; key < p.Lk; key += 32)
        store(bias_to, bias_at + row * dbias.row + key, 0.0f);
  if (!dq) return;
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
    const int row = own + 16 * m;
    store_rows<T, kRow>(queries + (warp * kTiles + m) * 16 * kRow, sums[m], p.scale, p.scale,
                        static_cast<T*>(dq.data) + dq.at(at.b, at.n, at.h) + row * dq.row, dq.row, p.Lq - row,
                        p.D, lane);
  }
}

}  // namespace reckon::ops::gpu
