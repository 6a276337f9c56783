// Pieces of the attention kernels in f32 arithmetic, for f32 and for operands of several types: 256 threads as
// 16 x 16 around tiles in shared memory that hold f32 whatever the operands are.
#pragma once

#include "ops/attention/attention_problem.cuh"

namespace reckon::ops::gpu {

inline constexpr int kFmaThreads = 256;

// A tile has kEdge rows; a thread owns kPart x kPart of its kEdge x kEdge scores: rows ty + 16 r,
// columns tx + 16 c. Rows of operands and of scores are padded so that neither reading along nor
// across them meets in one bank.
template <int kWidth>
struct FmaTiles {
  static constexpr int kEdge = kWidth <= 64 ? 64 : 32, kPart = kEdge / 16, kRow = kWidth + 4,
                       kScoreRow = kEdge + 16;
  static constexpr int kTile = kEdge * kRow, kScores = kEdge * kScoreRow;
  // Columns of a product with kWidth columns that a thread owns: kGroups times kVector neighbours.
  static constexpr int kVector = kWidth == 32 ? 2 : 4, kGroups = kWidth / 16 / kVector,
                       kOwn = kVector * kGroups;

  __device__ __forceinline__ static int ty() { return threadIdx.x / 16; }
  __device__ __forceinline__ static int tx() { return threadIdx.x % 16; }
  __device__ __forceinline__ static int column(int group) { return group * 16 * kVector + tx() * kVector; }

  using Scores = float[kPart][kPart];
  using Sums = float[kPart][kOwn];

  // Rows [0, rows) of a head, zeros behind them and past `width`.
  __device__ __forceinline__ static void load(float* tile, const Heads& x, int64_t at, int rows, int width) {
    const Elements from{x.data, x.dtype};
    for (int c = threadIdx.x; c < kEdge * kWidth / 4; c += kFmaThreads) {
      const int row = c / (kWidth / 4), j = c % (kWidth / 4) * 4;
      float v[4] = {};
      if (row < rows && x.by_eight && j < width) {
        load4(from, at + row * x.row + j, v);
      } else if (row < rows) {
#pragma unroll
        for (int k = 0; k < 4; ++k) v[k] = j + k < width ? gpu::load(from, at + row * x.row + j + k) : 0.0f;
      }
      *reinterpret_cast<float4*>(tile + row * kRow + j) = make_float4(v[0], v[1], v[2], v[3]);
    }
  }

  // scores = a b^T.
  __device__ __forceinline__ static void multiply(Scores& s, const float* a, const float* b) {
#pragma unroll
    for (int r = 0; r < kPart; ++r)
#pragma unroll
      for (int c = 0; c < kPart; ++c) s[r][c] = 0.0f;
    a += ty() * kRow, b += tx() * kRow;
#pragma unroll 1
    for (int d = 0; d < kWidth; d += 4) {
      float4 x[kPart], y[kPart];
#pragma unroll
      for (int r = 0; r < kPart; ++r) x[r] = *reinterpret_cast<const float4*>(a + 16 * r * kRow + d);
#pragma unroll
      for (int c = 0; c < kPart; ++c) y[c] = *reinterpret_cast<const float4*>(b + 16 * c * kRow + d);
#pragma unroll
      for (int r = 0; r < kPart; ++r)
#pragma unroll
        for (int c = 0; c < kPart; ++c) {
          s[r][c] = fmaf(x[r].x, y[c].x, s[r][c]), s[r][c] = fmaf(x[r].y, y[c].y, s[r][c]);
          s[r][c] = fmaf(x[r].z, y[c].z, s[r][c]), s[r][c] = fmaf(x[r].w, y[c].w, s[r][c]);
        }
    }
  }

  __device__ __forceinline__ static void keep_scores(float* cells, const Scores& s) {
#pragma unroll
    for (int r = 0; r < kPart; ++r)
#pragma unroll
      for (int c = 0; c < kPart; ++c) cells[(ty() + 16 * r) * kScoreRow + tx() + 16 * c] = s[r][c];
  }

  // sums += weights tile. Row r of the sums is row ty + 16 r of the scores.
  __device__ __forceinline__ static void add_product(Sums& sums, const float* cells, const float* tile) {
    for (int k = 0; k < kEdge; k += 4) {
      float w[kPart][4];
#pragma unroll
      for (int r = 0; r < kPart; ++r) {
        const float4 x = *reinterpret_cast<const float4*>(cells + (ty() + 16 * r) * kScoreRow + k);
        w[r][0] = x.x, w[r][1] = x.y, w[r][2] = x.z, w[r][3] = x.w;
      }
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        float y[kOwn];
        read_row(y, tile + (k + e) * kRow);
#pragma unroll
        for (int r = 0; r < kPart; ++r)
#pragma unroll
          for (int c = 0; c < kOwn; ++c) sums[r][c] = fmaf(w[r][e], y[c], sums[r][c]);
      }
    }
  }

  // sums += weights^T tile. Row r of the sums is column kPart ty + r of the scores.
  __device__ __forceinline__ static void add_transposed_product(Sums& sums, const float* cells,
                                                                const float* tile) {
#pragma unroll 4
    for (int k = 0; k < kEdge; ++k) {
      float w[kPart], y[kOwn];
#pragma unroll
      for (int r = 0; r < kPart; r += 2) {
        const float2 x = *reinterpret_cast<const float2*>(cells + k * kScoreRow + kPart * ty() + r);
        w[r] = x.x, w[r + 1] = x.y;
      }
      read_row(y, tile + k * kRow);
#pragma unroll
      for (int r = 0; r < kPart; ++r)
#pragma unroll
        for (int c = 0; c < kOwn; ++c) sums[r][c] = fmaf(w[r], y[c], sums[r][c]);
    }
  }

  __device__ __forceinline__ static void clear(Sums& sums) {
#pragma unroll
    for (int r = 0; r < kPart; ++r)
#pragma unroll
      for (int c = 0; c < kOwn; ++c) sums[r][c] = 0.0f;
  }

  // A row of the sums, times a factor, to a row of a tensor.
  __device__ __forceinline__ static void store_row(const float (&sums)[kOwn], float factor, const Heads& x,
                                                   int64_t at, int width) {
    const Elements to{x.data, x.dtype};
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      if constexpr (kVector == 4) {
        if (x.by_eight && column(group) < width) {
          const float v[4] = {sums[4 * group] * factor, sums[4 * group + 1] * factor,
                              sums[4 * group + 2] * factor, sums[4 * group + 3] * factor};
          store4(to, at + column(group), v);
          continue;
        }
      }
#pragma unroll
      for (int e = 0; e < kVector; ++e)
        if (column(group) + e < width) store(to, at + column(group) + e, sums[group * kVector + e] * factor);
    }
  }

  // logits = scale scores + key terms + bias, minus infinity where causality hides the key.
  __device__ __forceinline__ static void finish_logits(Scores& s, const AttentionProblem& p, const float* terms,
                                                       int64_t bias_at, int i0, int j0) {
    const Elements bias{p.bias.data, p.bias.dtype};
#pragma unroll
    for (int r = 0; r < kPart; ++r)
#pragma unroll
      for (int c = 0; c < kPart; ++c) {
        const int i = i0 + ty() + 16 * r, j = j0 + tx() + 16 * c;
        s[r][c] = fmaf(s[r][c], p.scale, terms[tx() + 16 * c]);
        if (bias && i < p.Lq && j < p.Lk) s[r][c] += gpu::load(bias, bias_at + i * p.bias.row + j);
        if (p.causal && j > i + p.lead()) s[r][c] = -INFINITY;
      }
  }

 private:
  __device__ __forceinline__ static void read_row(float (&y)[kOwn], const float* row) {
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      if constexpr (kVector == 4) {
        const float4 x = *reinterpret_cast<const float4*>(row + column(group));
        y[4 * group] = x.x, y[4 * group + 1] = x.y, y[4 * group + 2] = x.z, y[4 * group + 3] = x.w;
      } else {
        const float2 x = *reinterpret_cast<const float2*>(row + column(group));
        y[0] = x.x, y[1] = x.y;
      }
    }
  }
};

// Over the 16 threads that share a row of scores.
__device__ __forceinline__ float row_max(float v) {
#pragma unroll
  for (int d = 8; d > 0; d >>= 1) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, d));
  return v;
}
__device__ __forceinline__ float row_sum(float v) {
#pragma unroll
  for (int d = 8; d > 0; d >>= 1) v += __shfl_xor_sync(0xffffffffu, v, d);
  return v;
}

}  // namespace reckon::ops::gpu
