// The second launch of sums over many rows: the first leaves one partial sum per piece of the rows and column.
#pragma once

#include "ops/kernel/gpu/elements.cuh"
#include "ops/kernel/gpu/launch.cuh"
#include "ops/kernel/gpu/reduce.cuh"

namespace reckon::ops::gpu {
namespace {

// Of [pieces, n] the sum over the pieces, columns [0, split) into `first` and the rest into `second`, by `divisor`. A block
// takes 32 columns; each of its warps adds up every 32nd piece of them, then one column across the warps.
__global__ void __launch_bounds__(1024) sum_pieces(const float* partial, Elements first, Elements second,
                                                   int64_t pieces, int64_t split, int64_t n, float divisor) {
  __shared__ float strands[32][33];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t column = int64_t{blockIdx.x} * 32 + lane;
  float sum = 0;
  if (column < n) {
#pragma unroll 8
    for (int64_t p = warp; p < pieces; p += 32) sum += partial[p * n + column];
  }
  strands[warp][lane] = sum;
  __syncthreads();
  const int64_t j = int64_t{blockIdx.x} * 32 + warp;
  sum = warp_sum(strands[lane][warp]) / divisor;
  if (lane != 0 || j >= n) return;
  if (j < split)
    store(first, j, sum);
  else
    store(second, j - split, sum);
}

inline void launch_sum_pieces(const KernelArgs& a, int index, const float* partial, Elements first,
                              Elements second, int64_t pieces, int64_t split, int64_t n, float divisor = 1) {
  launch(a, index, sum_pieces, blocks_for(n, 32), 1024, 0, partial, first, second, pieces, split, n, divisor);
}

}  // namespace
}  // namespace reckon::ops::gpu
