// Gradients of keys and values on the tensor cores: a block owns 64 or 128 keys of one key/value head, a warp
// 16 or 32 of them, and walks over the queries of all heads of the group in a fixed order. The logits are
// computed transposed, keys down and queries across, so that probabilities and their gradients are in registers
// the left operands of what they are summed by.
#pragma once

#include "ops/attention/attention_tiles.cuh"

namespace reckon::ops::gpu {

// kTiles: 16-row tiles of a warp, as in the forward kernel; registers allow two of them up to a width of 64. A
// width of 256 is split: a block sums 128 columns of both gradients.
template <class T, int kWidth, int kTiles>
struct KeyTiles {
  static constexpr int kKeys = 64 * kTiles, kQueries = kWidth <= 64 ? 64 : 32, kRow = kTileRow<kWidth>,
                       kBiasRow = kTileRow<kKeys>;
  static constexpr int kColumns = kWidth <= 128 ? kWidth : 128, kParts = kWidth / kColumns;
  static constexpr size_t kBytes = sizeof(T) * kRow * (2 * kKeys + 4 * kQueries) + sizeof(float) * 6 * kQueries;
  static constexpr size_t kBiasBytes = sizeof(T) * 2 * kQueries * kBiasRow;  // where there is a 16-bit bias
  static constexpr int kBlocks =
      kWidth == 256 ? 1 : (kWidth == 32 && kTiles == 1 ? 4 : 2);  // of an SM, by registers
};

// g: the gradient of the output. dk, dv: absent where not wanted; delta only read for dk.
template <class T, int kWidth, int kTiles>
__global__ void __launch_bounds__(kAttentionThreads, (KeyTiles<T, kWidth, kTiles>::kBlocks))
    attention_dk_dv_mma(AttentionProblem p, Heads g, const float* statistics, const float* delta, Heads dk,
                        Heads dv, int key_tiles) {
  using Tiles = KeyTiles<T, kWidth, kTiles>;
  constexpr int kKeys = Tiles::kKeys, kQueries = Tiles::kQueries, kRow = Tiles::kRow,
                kBiasRow = Tiles::kBiasRow, kColumns = Tiles::kColumns;
  RECKON_DYNAMIC_SHARED(T, keys);
  T* const values = keys + kKeys * kRow;
  T* const queries = values + kKeys * kRow;  // two stages of queries and gradients
  float* const rows =
      reinterpret_cast<float*>(queries + 4 * kQueries * kRow);  // two stages of maxima, logs of sums and deltas
  T* const biases = reinterpret_cast<T*>(rows + 6 * kQueries);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, group_row = lane / 4, t = lane % 4,
            thread = threadIdx.x;
  const int column = static_cast<int>(blockIdx.x) % Tiles::kParts * kColumns;
  const HeadTile at(blockIdx.x / Tiles::kParts, gridDim.x / Tiles::kParts, p.N, p.Hkv, key_tiles,
                    p.causal ? TileOrder::folded : TileOrder::in_turn);
  const int first = at.tile * kKeys, own = first + warp * 16 * kTiles;
  const int first_query = p.causal && first > p.lead() ? (first - p.lead()) / kQueries * kQueries : 0;
  const int steps = p.group() * ((p.Lq - first_query + kQueries - 1) / kQueries);
  const bool staged_bias = p.bias && p.bias.dtype != DType::f32;

  const auto load_queries = [&](int step, int h, int i) {
    T* const to = queries + step % 2 * 2 * kQueries * kRow;
    load_tile<T, kQueries, kWidth>(to, static_cast<const T*>(p.q.data) + p.q.at(at.b, at.n, h) + i * p.q.row,
                                   p.q.row, p.Lq - i, p.D);
    load_tile<T, kQueries, kWidth>(to + kQueries * kRow,
                                   static_cast<const T*>(g.data) + g.at(at.b, at.n, h) + i * g.row, g.row,
                                   p.Lq - i, p.D);
    if (thread < kQueries) {
      // Behind the last query a maximum of infinity makes probabilities of zero.
      float* const cell = rows + step % 2 * 3 * kQueries + thread;
      const int64_t row = p.head_row(at.b, at.n, h) + i + thread;
      if (i + thread < p.Lq) {
        copy_async4(cell, statistics + row, true);
        copy_async4(cell + kQueries, statistics + p.rows() + row, true);
        if (delta) copy_async4(cell + 2 * kQueries, delta + row, true);
      } else {
        cell[0] = INFINITY, cell[kQueries] = cell[2 * kQueries] = 0.0f;
      }
    }
    if (!staged_bias) return;
    T* const bias = biases + step % 2 * kQueries * kBiasRow;
    const T* const from =
        static_cast<const T*>(p.bias.data) + p.bias.at(at.b, at.n, h) + i * p.bias.row + first;
    if (p.bias.by_eight) {
      load_tile<T, kQueries, kKeys>(bias, from, p.bias.row, p.Lq - i, p.Lk - first);
    } else {
#pragma unroll 4
      for (int c = thread; c < kQueries * kKeys; c += kAttentionThreads) {
        const int row = c / kKeys, key = c % kKeys;
        bias[row * kBiasRow + key] =
            i + row < p.Lq && first + key < p.Lk ? from[row * p.bias.row + key] : from_float<T>(0.0f);
      }
    }
  };

  const int hk = at.h;
  load_tile<T, kKeys, kWidth>(keys, static_cast<const T*>(p.k.data) + p.k.at(at.b, at.n, hk) + first * p.k.row,
                              p.k.row, p.Lk - first, p.D);
  load_tile<T, kKeys, kWidth>(values,
                              static_cast<const T*>(p.v.data) + p.v.at(at.b, at.n, hk) + first * p.v.row,
                              p.v.row, p.Lk - first, p.D);
  int h = hk * p.group(), next = first_query;  // of the step to be loaded next
  load_queries(0, h, next);
  const KeyTerms key_terms(p, at.b, at.n);
  float terms[kTiles][2];
#pragma unroll
  for (int m = 0; m < kTiles; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int key = own + 16 * m + 8 * half + group_row;
      terms[m][half] = key_terms.term(key, key_terms.fetch(key));
    }
  copy_async_wait();
  __syncthreads();
  LeftRows<T, kWidth, kWidth == 32> key_rows[kTiles], value_rows[kTiles];
  float dk_sums[kTiles][kColumns / 8][4], dv_sums[kTiles][kColumns / 8][4];
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
    key_rows[m].set(keys + (warp * kTiles + m) * 16 * kRow, lane);
    value_rows[m].set(values + (warp * kTiles + m) * 16 * kRow, lane);
#pragma unroll
    for (int c = 0; c < kColumns / 8; ++c)
#pragma unroll
      for (int r = 0; r < 4; ++r) dk_sums[m][c][r] = dv_sums[m][c][r] = 0.0f;
  }

  for (int step = 0; step < steps; ++step) {
    if (step > 0) {
      copy_async_wait();
      __syncthreads();
    }
    const int own_h = h, i0 = next;
    next += kQueries;
    if (next >= p.Lq) next = first_query, ++h;
    if (step + 1 < steps) load_queries(step + 1, h, next);
    const T* const q_tile = queries + step % 2 * 2 * kQueries * kRow;
    const float* const stage_rows = rows + step % 2 * 3 * kQueries;
    const int until = own < p.Lk ? min(kQueries, p.Lq - i0) : 0;
#pragma unroll 1
    for (int i = 0; i < until; i += 32) {
      if (p.causal && own > i0 + i + 31 + p.lead()) continue;
      float weights[kTiles][4][4];
      multiply_rows<T>(weights, key_rows, q_tile + i * kRow, lane);
#pragma unroll
      for (int m = 0; m < kTiles; ++m)
#pragma unroll
        for (int c = 0; c < 4; ++c)
#pragma unroll
          for (int r = 0; r < 4; ++r) weights[m][c][r] = fmaf(weights[m][c][r], p.scale, terms[m][r / 2]);
      if (staged_bias) {
        const T* const bias =
            b_row<kBiasRow>(biases + (step % 2 * kQueries + i) * kBiasRow + warp * 16 * kTiles, lane);
        const auto add = [&](auto type) {
#pragma unroll
          for (int m = 0; m < kTiles; ++m)
#pragma unroll
            for (int c = 0; c < 4; c += 2) {
              unsigned bits[4];
              load_matrices_transposed(bits, bias + c * 8 * kBiasRow + 16 * m);
#pragma unroll
              for (int part = 0; part < 4; ++part) {
                const float2 x = pair_values<decltype(type)::value>(bits[part]);
                float* const two = weights[m][c + part / 2] + part % 2 * 2;
                two[0] += x.x, two[1] += x.y;
              }
            }
        };
        if (p.bias.dtype == DType::bf16)
          add(std::integral_constant<DType, DType::bf16>{});
        else
          add(std::integral_constant<DType, DType::f16>{});
      } else if (p.bias) {
        const float* const bias = static_cast<const float*>(p.bias.data) + p.bias.at(at.b, at.n, own_h);
#pragma unroll
        for (int m = 0; m < kTiles; ++m)
#pragma unroll
          for (int c = 0; c < 4; ++c)
#pragma unroll
            for (int r = 0; r < 4; ++r) {
              const int query = i0 + i + 8 * c + 2 * t + r % 2, key = own + 16 * m + r / 2 * 8 + group_row;
              if (query < p.Lq && key < p.Lk) weights[m][c][r] += bias[query * p.bias.row + key];
            }
      }
      if (p.causal && own + 16 * kTiles - 1 > i0 + i + p.lead()) {
        const int ahead = i0 + i + 2 * t + p.lead() - own - group_row;
#pragma unroll
        for (int m = 0; m < kTiles; ++m)
#pragma unroll
          for (int c = 0; c < 4; ++c)
#pragma unroll
            for (int r = 0; r < 4; ++r)
              if (16 * m + r / 2 * 8 > ahead + 8 * c + r % 2) weights[m][c][r] = -INFINITY;
      }
      const float own_row = stage_rows[i + lane] + stage_rows[kQueries + i + lane];
      with_flag(__all_sync(0xffffffffu, fabsf(own_row) < kNear), [&](auto is_near) {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          const float* const cell = stage_rows + i + 8 * c + 2 * t;
          const float2 top = *reinterpret_cast<const float2*>(cell),
                       log_sum = *reinterpret_cast<const float2*>(cell + kQueries);
#pragma unroll
          for (int m = 0; m < kTiles; ++m)
#pragma unroll
            for (int r = 0; r < 4; ++r)
              weights[m][c][r] = probability<decltype(is_near)::value>(
                  weights[m][c][r], r % 2 == 0 ? top.x : top.y, r % 2 == 0 ? log_sum.x : log_sum.y);
        }
      });
      const T* const g_rows = q_tile + (kQueries + i) * kRow;
      if (dv) add_weighted_rows<T, kRow>(dv_sums, weights, g_rows + column, lane);
      if (!dk) continue;
      float gradients[kTiles][4][4];
      multiply_rows<T>(gradients, value_rows, g_rows, lane);
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const float2 d = *reinterpret_cast<const float2*>(stage_rows + 2 * kQueries + i + 8 * c + 2 * t);
#pragma unroll
        for (int m = 0; m < kTiles; ++m)
#pragma unroll
          for (int r = 0; r < 4; ++r) weights[m][c][r] *= gradients[m][c][r] - (r % 2 == 0 ? d.x : d.y);
      }
      add_weighted_rows<T, kRow>(dk_sums, weights, q_tile + i * kRow + column, lane);
    }
  }

  if (own >= p.Lk) return;
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
    const int row = own + 16 * m, own_rows = (warp * kTiles + m) * 16 * kRow;
    if (dk)
      store_rows<T, kRow>(keys + own_rows, dk_sums[m], p.scale, p.scale,
                          static_cast<T*>(dk.data) + dk.at(at.b, at.n, hk) + row * dk.row + column, dk.row,
                          p.Lk - row, p.D - column, lane);
    if (dv)
      store_rows<T, kRow>(values + own_rows, dv_sums[m], 1.0f, 1.0f,
                          static_cast<T*>(dv.data) + dv.at(at.b, at.n, hk) + row * dv.row + column, dv.row,
                          p.Lk - row, p.D - column, lane);
  }
}

}  // namespace reckon::ops::gpu
