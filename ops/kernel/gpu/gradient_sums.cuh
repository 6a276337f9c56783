// The last launch of a backward op: adds up, in order, what the blocks of its other kernels left of every
// parameter's gradient, and rounds the result to the gradient's type.
#pragma once

#include "ops/kernel/gpu/elements.cuh"
#include "ops/kernel/gpu/launch.cuh"
#include "ops/kernel/gpu/reduce.cuh"

namespace reckon::ops::gpu {

struct GradientSum {
  const float* from;  // n elements of piece p at from + p stride
  int64_t pieces, stride, n;
  Elements to;
  int64_t first_block;
};

struct GradientSums {
  static constexpr int kMost = 32;
  GradientSum of[kMost];
  int count = 0;
  int64_t blocks = 0;

  void add(const TensorArg& to, const float* from, int64_t pieces, int64_t stride) {
    const int64_t n = to.numel();
    of[count++] = {from, pieces, stride, n, elements(to), blocks};
    blocks += (n + 31) / 32;
  }
};

namespace {

// A block takes 32 elements: each warp adds up every 32nd piece of them, then one element across the warps.
__global__ void __launch_bounds__(1024) sum_gradients(GradientSums sums) {
  __shared__ float strands[32][33];
  int s = 0;
  while (s + 1 < sums.count && blockIdx.x >= sums.of[s + 1].first_block) ++s;
  const GradientSum& of = sums.of[s];
  const int64_t first = (blockIdx.x - of.first_block) * 32;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float sum = 0;
  if (sums.count > 0 && first + lane < of.n) {
#pragma unroll 4
    for (int64_t p = warp; p < of.pieces; p += 32) sum += of.from[p * of.stride + first + lane];
  }
  strands[warp][lane] = sum;
  __syncthreads();
  sum = warp_sum(strands[lane][warp]);
  if (lane == 0 && sums.count > 0 && first + warp < of.n) store(of.to, first + warp, sum);
}

inline void launch_sum_gradients(const KernelArgs& a, int index, const GradientSums& sums) {
  launch(a, index, sum_gradients, blocks_for(sums.blocks, 1), 1024, 0, sums);
}

}  // namespace
}  // namespace reckon::ops::gpu
