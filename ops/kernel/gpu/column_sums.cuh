// Sums over the rows of dense matrices, as biases' gradients need them: a block sums 128 columns over one piece
// of the rows (ColumnPieces), and sum_gradients adds up the pieces.
#pragma once

#include "ops/kernel/gpu/fours.cuh"
#include "ops/kernel/gpu/launch.cuh"
#include "ops/kernel/plan/tile_pieces.h"

namespace reckon::ops::gpu {
namespace {

inline constexpr int kColumnThreads = 256, kColumnTile = 128;

// Columns [column0, column0 + kColumnTile) of [.., n] over the rows [first, last) into to[0, n), or nowhere
// where `to` is null. What lies at an element, of four neighbours or one by one, is the source's to say:
//   Raw issue(int64_t at), void values(const Raw&, int64_t at, float (&v)[4]), float one(int64_t at).
// Warp w takes every eighth row from the w-th on.
template <class Source>
__device__ __forceinline__ void sum_columns(const Source& source, int64_t n, int64_t column0, int64_t first,
                                            int64_t last, bool fours, float* to) {
  constexpr int kWarps = kColumnThreads / 32, kAtOnce = 4;
  __shared__ float cells[kWarps][kColumnTile];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float sums[4] = {};
  if (fours) {
    const int64_t column = column0 + 4 * lane;
    for (int64_t row = first + warp; row < last && column < n; row += kWarps * kAtOnce) {
      typename Source::Raw raw[kAtOnce] = {};
#pragma unroll
      for (int u = 0; u < kAtOnce; ++u)
        if (row + u * kWarps < last) raw[u] = source.issue((row + u * kWarps) * n + column);
#pragma unroll
      for (int u = 0; u < kAtOnce; ++u) {
        if (row + u * kWarps >= last) continue;
        float v[4];
        source.values(raw[u], (row + u * kWarps) * n + column, v);
#pragma unroll
        for (int k = 0; k < 4; ++k) sums[k] += v[k];
      }
    }
  } else {
    for (int64_t row = first + warp; row < last; row += kWarps)
#pragma unroll
      for (int k = 0; k < 4; ++k)
        if (column0 + lane + 32 * k < n) sums[k] += source.one(row * n + column0 + lane + 32 * k);
  }
  if (!to) return;
#pragma unroll
  for (int k = 0; k < 4; ++k) cells[warp][fours ? 4 * lane + k : lane + 32 * k] = sums[k];
  __syncthreads();
  if (threadIdx.x >= kColumnTile || column0 + threadIdx.x >= n) return;
  float sum = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) sum += cells[w][threadIdx.x];
  to[column0 + threadIdx.x] = sum;
}

struct StoredColumns {
  Elements of;

  using Raw = RawFour;
  __device__ __forceinline__ Raw issue(int64_t at) const { return issue_four(of, at); }
  __device__ __forceinline__ void values(const Raw& raw, int64_t, float (&v)[4]) const {
    four_values(raw, of.dtype, v);
  }
  __device__ __forceinline__ float one(int64_t at) const { return load(of, at); }
};

// Several matrices of the same rows.
struct ColumnSums {
  static constexpr int kMost = 16;
  struct Matrix {
    Elements from;  // [rows, n]
    int64_t n;
    float* to;  // of piece 0
    int64_t first_block;
    bool fours;
  };
  Matrix of[kMost];
  int count = 0;
  int64_t blocks = 0;

  void add(const TensorArg& from, float* to) {
    const int64_t n = from.last();
    of[count++] = {elements(from), n, to, blocks, takes_fours(from, n)};
    blocks += (n + kColumnTile - 1) / kColumnTile;
  }
};

// Blocks: column tiles of all matrices by pieces, whose sums lie `stride` apart.
__global__ void __launch_bounds__(kColumnThreads)
    column_sums(ColumnSums sums, int64_t rows, int64_t rows_per_piece, int64_t stride) {
  if (blockIdx.x >= sums.blocks) return;
  int s = 0;
  while (s + 1 < sums.count && blockIdx.x >= sums.of[s + 1].first_block) ++s;
  const ColumnSums::Matrix& m = sums.of[s];
  const int64_t first = blockIdx.y * rows_per_piece,
                last = first + rows_per_piece < rows ? first + rows_per_piece : rows;
  sum_columns(StoredColumns{m.from}, m.n, (blockIdx.x - m.first_block) * kColumnTile, first, last, m.fours,
              m.to + blockIdx.y * stride);
}

inline void launch_column_sums(const KernelArgs& a, int index, const ColumnSums& sums, int64_t rows,
                               int64_t stride) {
  const ColumnPieces p(rows);
  launch(a, index, column_sums, dim3(blocks_for(sums.blocks, 1), static_cast<unsigned>(p.pieces)),
         kColumnThreads, 0, sums, rows, p.rows_per_piece, stride);
}

}  // namespace
}  // namespace reckon::ops::gpu
