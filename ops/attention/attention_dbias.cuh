// Gradient of a bias that rows share, on the tensor cores and without atomics: a block owns 64 x 64
// elements of it, keeps their sums in registers and walks over a range of the rows in order; the bias
// itself stays in registers too.
#pragma once

#include "ops/attention/attention_backward.cuh"
#include "ops/attention/attention_dq.cuh"

namespace reckon::ops::gpu {

template <class T, int kWidth>
struct BiasTiles {
  static constexpr int kEdge = 64, kStages = kWidth <= 64 ? 2 : 1, kRow = kTileRow<kWidth>;
  static constexpr size_t kBytes = sizeof(T) * kRow * 4 * kEdge * kStages + sizeof(float) * 4 * kEdge * kStages;
  static constexpr int kBlocks = kWidth == 256 ? 1 : (kWidth == 32 ? 3 : 2);  // of an SM, by registers
};

// to: the bias's gradient, or partial sums of it in f32, one after another.
template <class T, int kWidth>
__global__ void __launch_bounds__(kAttentionThreads, (BiasTiles<T, kWidth>::kBlocks))
    attention_dbias_mma(AttentionProblem p, Heads g, const float* statistics, const float* delta, Heads to,
                        int64_t to_range, SharedBias shared_bias) {
  using Tiles = BiasTiles<T, kWidth>;
  constexpr int kEdge = Tiles::kEdge, kStages = Tiles::kStages, kRow = Tiles::kRow, kStage = 4 * kEdge * kRow;
  RECKON_DYNAMIC_SHARED(T, tiles);  // a stage: queries, gradients, keys, values
  float* const rows =
      reinterpret_cast<float*>(tiles + kStages * kStage);  // a stage: key terms, maximum, log of the sum, delta
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, t = lane % 4, thread = threadIdx.x;
  const BiasTile at(blockIdx.x, shared_bias, p.H);
  const int first_query = at.query_tile * kEdge, first_key = at.key_tile * kEdge, own = first_query + warp * 16,
            hk = at.h / p.group();
  const int last =
      p.causal && first_key > first_query + kEdge - 1 + p.lead() ? 0 : shared_bias.first(p, at.range + 1);
  int sharer = shared_bias.first(p, at.range);
  // The row to be loaded next. A shared axis has extent 1 in the bias, so that the tile's own index on it is 0.
  const int shared_n = p.N / shared_bias.own_n;
  int b = at.b + sharer / shared_n, n = at.n + sharer % shared_n;
  const int query = own + lane / 4;
  unsigned loaded_mask = 0;
  const auto load_row = [&](int stage) {
    T* const a = tiles + stage * kStage;
    load_tile<T, kEdge, kWidth>(a, static_cast<const T*>(p.q.data) + p.q.at(b, n, at.h) + first_query * p.q.row,
                                p.q.row, p.Lq - first_query, p.D);
    load_tile<T, kEdge, kWidth>(a + kEdge * kRow,
                                static_cast<const T*>(g.data) + g.at(b, n, at.h) + first_query * g.row, g.row,
                                p.Lq - first_query, p.D);
    load_tile<T, kEdge, kWidth, true>(a + 2 * kEdge * kRow,
                                      static_cast<const T*>(p.k.data) + p.k.at(b, n, hk) + first_key * p.k.row,
                                      p.k.row, p.Lk - first_key, p.D);
    load_tile<T, kEdge, kWidth, true>(a + 3 * kEdge * kRow,
                                      static_cast<const T*>(p.v.data) + p.v.at(b, n, hk) + first_key * p.v.row,
                                      p.v.row, p.Lk - first_key, p.D);
    const int64_t head_row = p.head_row(b, n, at.h);
    if (thread < kEdge) {
      float* const cell = rows + stage * 4 * kEdge + thread;
      const bool inside = first_query + thread < p.Lq;
      const float* const top = statistics + head_row + first_query + thread;
      copy_async4(cell + kEdge, top, inside);
      copy_async4(cell + 2 * kEdge, top + p.rows(), inside);
      copy_async4(cell + 3 * kEdge, delta + head_row + first_query + thread, inside);
      loaded_mask = KeyTerms(p, b, n).fetch(first_key + thread);
    }
    if (++n == at.n + shared_n) n = at.n, ++b;
  };
  const auto set_terms = [&](int stage) {
    if (thread < kEdge)
      rows[stage * 4 * kEdge + thread] = KeyTerms(p, 0, 0).term(first_key + thread, loaded_mask);
  };

  float bias[2][2][8], sums[2][4][4];
  const BiasRows bias_rows(p, at.b, at.n, at.h);
#pragma unroll
  for (int w = 0; w < 2; ++w) {
#pragma unroll
    for (int i = 0; i < 16; ++i) sums[w][i / 4][i % 4] = 0.0f;
    with_bias_type(bias_rows.dtype, [&](auto type) {
      constexpr DType kType = decltype(type)::value;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = query + 8 * half, key = first_key + 32 * w + 8 * t;
        bias_rows.values<kType>(kType == DType::f32 ? uint4{} : bias_rows.fetch(row, key), row, key,
                                bias[w][half]);
      }
    });
  }

  if (kStages == 2 && sharer < last) {
    load_row(0);
    set_terms(0);
  }
  for (int stage = 0; sharer < last; ++sharer, stage ^= kStages - 1) {
    const bool more = sharer + 1 < last;
    if constexpr (kStages == 1) {
      load_row(0);
      set_terms(0);
    }
    copy_async_wait();
    __syncthreads();
    if (kStages == 2 && more) load_row(stage ^ 1);
    const T* const a = tiles + stage * kStage;
    LeftRows<T, kWidth> query_rows[1];
    LeftRows<T, kWidth, kWidth == 64> gradient_rows[1];
    query_rows[0].set(a + warp * 16 * kRow, lane);
    gradient_rows[0].set(a + (kEdge + warp * 16) * kRow, lane);
    const float* const stage_rows = rows + stage * 4 * kEdge;
    QueryRows own_rows;
    const float* const own_cell = stage_rows + kEdge + warp * 16 + lane / 4;
    own_rows.read(own_cell, own_cell + kEdge, own_cell + 2 * kEdge);
    const bool near = __all_sync(0xffffffffu, own_rows.near());
#pragma unroll
    for (int w = 0; w < 2; ++w) {
      float weights[1][4][4], products[1][4][4];
      multiply_rows<T>(weights, query_rows, a + (2 * kEdge + 32 * w) * kRow, lane);
      scale_and_mask(weights[0], p.scale, stage_rows + 32 * w, t);
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int i = 0; i < 8; ++i) weights[0][i / 2][2 * half + i % 2] += bias[w][half][i];
      if (p.causal) hide_later_keys(weights[0], query, p.lead(), first_key + 32 * w, t);
      own_rows.to_probabilities(weights[0], near);
      multiply_rows<T>(products, gradient_rows, a + (3 * kEdge + 32 * w) * kRow, lane);
#pragma unroll
      for (int u = 0; u < 4; ++u)
#pragma unroll
        for (int r = 0; r < 4; ++r)
          sums[w][u][r] = fmaf(weights[0][u][r], products[0][u][r] - own_rows.delta[r / 2], sums[w][u][r]);
    }
    if constexpr (kStages == 1)
      __syncthreads();
    else if (more)
      set_terms(stage ^ 1);
  }

  const Elements cells{to.data, to.dtype};
  const int64_t to_at = at.range * to_range + to.at(at.b, at.n, at.h);
#pragma unroll
  for (int w = 0; w < 2; ++w)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float v[8];
#pragma unroll
      for (int i = 0; i < 8; ++i) v[i] = sums[w][i / 2][2 * half + i % 2];
      const int row = query + 8 * half;
      if (row < p.Lq)
        store_bias_gradient(cells, to.by_eight, to_at + row * to.row, first_key + 32 * w + 8 * t, p.Lk, v);
    }
}

}  // namespace reckon::ops::gpu
