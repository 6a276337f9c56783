// The row sums that softmax's backward subtracts, and the last step of a shared bias's gradient.
#pragma once

#include "ops/attention/attention_problem.cuh"

namespace reckon::ops::gpu {

inline constexpr int kRowsThreads = 256;

// delta [B, N, H, Lq] = row sums of g o, both [B, N, Lq, H, D]. `lanes`, a power of two, share a row.
__global__ void __launch_bounds__(kRowsThreads)
    attention_row_sums(Elements g, Elements o, float* delta, unsigned rows, unsigned H, unsigned Lq, int D,
                       unsigned lanes, bool fours) {
  const unsigned row = blockIdx.x * (kRowsThreads / lanes) + threadIdx.x / lanes, lane = threadIdx.x % lanes;
  float sum = 0;
  if (row < rows && fours) {
    for (int d = lane * 4; d < D; d += lanes * 4) {
      float x[4], y[4];
      load4(g, int64_t{row} * D + d, x);
      load4(o, int64_t{row} * D + d, y);
#pragma unroll
      for (int k = 0; k < 4; ++k) sum += x[k] * y[k];
    }
  } else if (row < rows) {
    for (int d = lane; d < D; d += lanes) sum += load(g, int64_t{row} * D + d) * load(o, int64_t{row} * D + d);
  }
  for (unsigned d = lanes / 2; d > 0; d /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, d);
  if (row >= rows || lane != 0) return;
  const unsigned h = row % H, i = row / H % Lq, bn = row / H / Lq;
  delta[(int64_t{bn} * H + h) * Lq + i] = sum;
}

// to [n] = sum of partial sums [ranges, n], in order.
__global__ void __launch_bounds__(kRowsThreads)
    attention_sum_ranges(const float* partial, Elements to, int64_t n, int ranges, bool fours) {
  const int64_t i = (int64_t{blockIdx.x} * kRowsThreads + threadIdx.x) * (fours ? 4 : 1);
  if (i >= n) return;
  if (fours) {
    float sum[4] = {};
    for (int r = 0; r < ranges; ++r) {
      const float4 x = *reinterpret_cast<const float4*>(partial + r * n + i);
      sum[0] += x.x, sum[1] += x.y, sum[2] += x.z, sum[3] += x.w;
    }
    store4(to, i, sum);
  } else {
    float sum = 0;
    for (int r = 0; r < ranges; ++r) sum += partial[r * n + i];
    store(to, i, sum);
  }
}

}  // namespace reckon::ops::gpu
