// Sums and maxima over a warp or a block, in a fixed order: the same inputs give the same bits on every run.
#pragma once

#include "ops/kernel/gpu/device.cuh"

namespace reckon::ops::gpu {

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
  for (int d = 16; d > 0; d >>= 1) v += __shfl_xor_sync(0xffffffffu, v, d);
  return v;
}

__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
  for (int d = 16; d > 0; d >>= 1) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, d));
  return v;
}

// Every thread of the block gets the result. `cells`: shared memory of 32 floats; may be used again right
// after. blockDim.x must be a multiple of 32, and the other extents 1.
__device__ __forceinline__ float block_sum(float v, float* cells) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  v = warp_sum(v);
  if (lane == 0) cells[warp] = v;
  __syncthreads();
  v = warp_sum(lane < warps ? cells[lane] : 0.0f);
  __syncthreads();
  return v;
}

__device__ __forceinline__ float block_max(float v, float* cells) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  v = warp_max(v);
  if (lane == 0) cells[warp] = v;
  __syncthreads();
  v = warp_max(lane < warps ? cells[lane] : -INFINITY);
  __syncthreads();
  return v;
}

}  // namespace reckon::ops::gpu
