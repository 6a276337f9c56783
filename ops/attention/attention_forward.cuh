// Forward attention on the tensor cores: a block owns 64 or 128 queries of one head, a warp 16 or 32 of them,
// and walks over tiles of keys with a running softmax. Logits, probabilities and sums stay in registers; keys
// and values of the next tile travel while this one is worked on, the bias of the next tile too.
#pragma once

#include <cfloat>

#include "ops/attention/attention_tiles.cuh"

namespace reckon::ops::gpu {

inline constexpr float kSlack = 8.0f;

// kTiles: 16-row tiles of a warp. Two of them use each fragment of keys and values twice, which is what
// shared memory's bandwidth asks for; one makes more blocks of a small problem. A softmax step takes
// kStep keys of a tile of kKeys.
template <class T, int kWidth, int kTiles>
struct ForwardTiles {
  static constexpr int kRows = 64 * kTiles, kKeys = kWidth <= 64 ? 64 : 32, kStep = kTiles == 1 ? kKeys : 32,
                       kRow = kTileRow<kWidth>;
  static constexpr size_t kBytes = sizeof(T) * kRow * (kRows + 4 * kKeys) + sizeof(float) * 2 * kKeys;
  // Of an SM, by registers.
  static constexpr int kBlocks = kWidth == 256 ? 1 : (kTiles == 1 || kWidth == 32 ? 3 : 2);
};

template <class T, int kWidth, int kTiles>
__global__ void __launch_bounds__(kAttentionThreads, (ForwardTiles<T, kWidth, kTiles>::kBlocks))
    attention_forward_mma(AttentionProblem p, Heads o, float* statistics, int query_tiles) {
  using Tiles = ForwardTiles<T, kWidth, kTiles>;
  constexpr int kRows = Tiles::kRows, kKeys = Tiles::kKeys, kRow = Tiles::kRow, kStep = Tiles::kStep,
                kColumns = kStep / 8, kGroups = kStep / 32;
  RECKON_DYNAMIC_SHARED(T, queries);
  T* const keys = queries + kRows * kRow;  // two stages of keys and values
  float* const terms = reinterpret_cast<float*>(keys + 4 * kKeys * kRow);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4, thread = threadIdx.x;
  const HeadTile at(blockIdx.x, gridDim.x, p.N, p.H, query_tiles,
                    p.causal ? TileOrder::last_first : TileOrder::in_turn);
  const int first = at.tile * kRows, own = first + warp * 16 * kTiles;
  const int seen = p.keys_until(min(first + kRows, p.Lq) - 1), tiles = (seen + kKeys - 1) / kKeys;
  const bool works = own < p.Lq;
  const int own_seen = p.keys_until(own + 16 * kTiles - 1);
  const T* const k_head = static_cast<const T*>(p.k.data) + p.k.at(at.b, at.n, at.h / p.group());
  const T* const v_head = static_cast<const T*>(p.v.data) + p.v.at(at.b, at.n, at.h / p.group());
  const KeyTerms key_terms(p, at.b, at.n);
  const BiasRows bias(p, at.b, at.n, at.h);

  const auto load_keys = [&](int tile) {
    T* const to = keys + tile % 2 * 2 * kKeys * kRow;
    const int j = tile * kKeys;
    load_tile<T, kKeys, kWidth, true>(to, k_head + j * p.k.row, p.k.row, p.Lk - j, p.D);
    load_tile<T, kKeys, kWidth, true>(to + kKeys * kRow, v_head + j * p.v.row, p.v.row, p.Lk - j, p.D);
  };
  uint4 bits[kTiles][kGroups][2];
  const auto fetch_bias = [&](int j) {
#pragma unroll
    for (int m = 0; m < kTiles; ++m)
#pragma unroll
      for (int w = 0; w < kGroups; ++w)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          bits[m][w][half] = bias.fetch(own + 16 * m + g + 8 * half, j + 32 * w + 8 * t);
  };

  const T* const q_rows = static_cast<const T*>(p.q.data) + p.q.at(at.b, at.n, at.h) + first * p.q.row;
  load_tile<T, kRows, kWidth>(queries, q_rows, p.q.row, p.Lq - first, p.D);
  load_keys(0);
  if (thread < kKeys) terms[thread] = key_terms.term(thread, key_terms.fetch(thread));
  if (bias.fetches() && works) fetch_bias(0);
  copy_async_wait();
  __syncthreads();
  LeftRows<T, kWidth> left[kTiles];
#pragma unroll
  for (int m = 0; m < kTiles; ++m) left[m].set(queries + (warp * kTiles + m) * 16 * kRow, lane);

  float sums[kTiles][kWidth / 8][4], top[kTiles][2], total[kTiles][2];
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
#pragma unroll
    for (int c = 0; c < kWidth / 8; ++c) sums[m][c][0] = sums[m][c][1] = sums[m][c][2] = sums[m][c][3] = 0.0f;
    top[m][0] = top[m][1] = -FLT_MAX, total[m][0] = total[m][1] = 0.0f;
  }

  bool near = false;
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
    const int until = works ? min(j0 + kKeys, own_seen) : j0;
#pragma unroll 1
    for (int j = j0; j < until; j += kStep) {
      const T* const k_rows = keys + (stage * 2 * kKeys + j - j0) * kRow;
      float logits[kTiles][kColumns][4];
      multiply_rows<T>(logits, left, k_rows, lane);
#pragma unroll
      for (int m = 0; m < kTiles; ++m)
#pragma unroll
        for (int w = 0; w < kGroups; ++w)
          scale_and_mask(logits[m] + 4 * w, p.scale, terms + stage * kKeys + j - j0 + 32 * w, t);
      if (bias)
        with_bias_type(bias.dtype, [&](auto type) {
#pragma unroll
          for (int m = 0; m < kTiles; ++m)
#pragma unroll
            for (int w = 0; w < kGroups; ++w)
              add_bias<decltype(type)::value>(logits[m] + 4 * w, bias, bits[m][w], own + 16 * m + g,
                                              j + 32 * w + 8 * t);
        });
      if (bias.fetches() && j + kStep < own_seen) fetch_bias(j + kStep);
      if (p.causal && j + kStep - 1 > own + p.lead()) {
#pragma unroll
        for (int m = 0; m < kTiles; ++m)
#pragma unroll
          for (int w = 0; w < kGroups; ++w)
            hide_later_keys(logits[m] + 4 * w, own + 16 * m + g, p.lead(), j + 32 * w, t);
      }

      // `top` follows the largest logit only when that has grown by more than kSlack, so that the sums are
      // hardly ever scaled: probabilities up to e^kSlack are as exact as those up to 1. A row that has seen
      // minus infinity alone keeps its first top and sums of zero.
      float largest[kTiles][2];
      bool grown = false;
#pragma unroll
      for (int m = 0; m < kTiles; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float x = logits[m][0][2 * half];
#pragma unroll
          for (int c = 0; c < kColumns; ++c)
            x = fmaxf(x, fmaxf(logits[m][c][2 * half], logits[m][c][2 * half + 1]));
          x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
          largest[m][half] = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
          grown = grown || largest[m][half] > top[m][half] + kSlack;
        }
      if (__any_sync(0xffffffffu, grown)) {
        bool small = true;
#pragma unroll
        for (int m = 0; m < kTiles; ++m)
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const float now = fmaxf(top[m][half], largest[m][half]),
                        factor = exp_difference<false>(top[m][half], now);
            top[m][half] = now, total[m][half] *= factor;
            small = small && fabsf(now) < kNear;
#pragma unroll
            for (int c = 0; c < kWidth / 8; ++c)
              sums[m][c][2 * half] *= factor, sums[m][c][2 * half + 1] *= factor;
          }
        near = __all_sync(0xffffffffu, small);
      }
      with_flag(near, [&](auto is_near) {
#pragma unroll
        for (int m = 0; m < kTiles; ++m)
#pragma unroll
          for (int c = 0; c < kColumns; ++c)
#pragma unroll
            for (int r = 0; r < 4; ++r) {
              logits[m][c][r] = exp_difference<decltype(is_near)::value>(logits[m][c][r], top[m][r / 2]);
              total[m][r / 2] += logits[m][c][r];
            }
      });
      add_weighted_rows<T, kRow>(sums, logits, k_rows + kKeys * kRow, lane);
    }
    if (more && thread < kKeys)
      terms[(stage ^ 1) * kKeys + thread] = key_terms.term(j0 + kKeys + thread, fetched);
  }

  if (!works) return;
  const int64_t head_row = p.head_row(at.b, at.n, at.h);
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
    const int row = own + 16 * m;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      total[m][half] += __shfl_xor_sync(0xffffffffu, total[m][half], 1);
      total[m][half] += __shfl_xor_sync(0xffffffffu, total[m][half], 2);
      const int i = row + g + 8 * half;
      if (t == 0 && i < p.Lq)
        statistics[head_row + i] = top[m][half], statistics[p.rows() + head_row + i] = logf(total[m][half]);
    }
    store_rows<T, kRow>(queries + (warp * kTiles + m) * 16 * kRow, sums[m], 1.0f / total[m][0],
                        1.0f / total[m][1], static_cast<T*>(o.data) + o.at(at.b, at.n, at.h) + row * o.row,
                        o.row, p.Lq - row, p.D, lane);
  }
}

}  // namespace reckon::ops::gpu
