// The norm in three launches: sums of squares of the tensors' chunks, their sum per tensor (a warp
// each), and the root of their sum. grad_norm_eager goes through the same kernels in the same
// order, and gets the same bits.
#include "ops/grad_norm/grad_norm_attrs.h"
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/list_launch.cuh"
#include "ops/kernel/gpu/reduce.cuh"

namespace reckon::ops::gpu {
namespace {

constexpr int kSumThreads = 256, kRootThreads = 1024;

__global__ void __launch_bounds__(kListThreads)
    square_chunks(const __grid_constant__ TensorsOfLaunch l, float* partial, int64_t* first_chunks) {
  __shared__ float cells[32];
  const ListChunk c = chunk_of_block(l);
  float sum = 0;
  c.each([&](const float(&v)[4], int n, int64_t) {
    sum += n == 4 ? (v[0] * v[0] + v[1] * v[1]) + (v[2] * v[2] + v[3] * v[3]) : v[0] * v[0];
  });
  sum = block_sum(sum, cells);
  if (threadIdx.x != 0) return;
  partial[c.index] = sum;
  if (c.opens_tensor) first_chunks[c.tensor] = c.index;
}

// sums[t] over the chunks of tensor t.
__global__ void __launch_bounds__(kSumThreads) sum_chunks(const float* partial, const int64_t* first_chunks,
                                                          int n_tensors, int64_t n_chunks, float* sums) {
  const int t = (blockIdx.x * kSumThreads + threadIdx.x) / 32, lane = threadIdx.x % 32;
  const int64_t first = t < n_tensors ? first_chunks[t] : n_chunks,
                last = t + 1 < n_tensors ? first_chunks[t + 1] : n_chunks;
  float sum = 0;
#pragma unroll 4
  for (int64_t i = first + lane; i < last; i += 32) sum += partial[i];
  sum = warp_sum(sum);
  if (t < n_tensors && lane == 0) sums[t] = sum;
}

__global__ void __launch_bounds__(kRootThreads) root_of_sum(Elements x, int64_t n, Elements to) {
  __shared__ float cells[32];
  float sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += kRootThreads) sum += load(x, i);
  sum = block_sum(sum, cells);
  if (threadIdx.x == 0) store(to, 0, sqrtf(sum));
}

__global__ void clip_coefficient(Elements norm, float max_norm, Elements to) {
  const float c = max_norm / (load(norm, 0) + 1e-6f);
  store(to, 0, c > 1.0f ? 1.0f : c);
}

__global__ void __launch_bounds__(kListThreads)
    scale_chunks(const __grid_constant__ TensorsOfLaunch l, Elements factor) {
  const ListChunk c = chunk_of_block(l);
  const float by = load(factor, 0);
  c.each([&](float(&v)[4], int n, int64_t i) {
    if (n == 1) return store(c.of, i, v[0] * by);
#pragma unroll
    for (int k = 0; k < 4; ++k) v[k] *= by;
    store4(c.of, i, v);
  });
}

// Of the inputs, into `sums`. Workspaces: sums of chunks, each tensor's first chunk. Returns the next launch.
int sum_squares(KernelArgs& a, float* sums) {
  auto* partial = reinterpret_cast<float*>(a.workspace[0]);
  auto* first_chunks = reinterpret_cast<int64_t*>(a.workspace[1]);
  int64_t n_chunks = 0;
  for (int k = 0; k < a.n_in; ++k) n_chunks += gpu_list_chunks(a.in[k].numel());
  const int next = launch_over_list(a, 0, square_chunks, a.in, a.n_in, partial, first_chunks);
  launch(a, next, sum_chunks, blocks_for(a.n_in, kSumThreads / 32), kSumThreads, 0, partial, first_chunks,
         a.n_in, n_chunks, sums);
  return next + 1;
}

void sum_squares_gpu(KernelArgs& a) { sum_squares(a, a.out[0].as<float>()); }

void grad_norm_gpu(KernelArgs& a) {
  auto* sums = reinterpret_cast<float*>(a.workspace[2]);
  const int next = sum_squares(a, sums);
  launch(a, next, root_of_sum, 1, kRootThreads, 0, Elements{sums, DType::f32}, a.n_in, elements(a.out[0]));
}

void root_of_sum_gpu(KernelArgs& a) {
  launch(a, 0, root_of_sum, 1, kRootThreads, 0, elements(a.in[0]), a.in[0].numel(), elements(a.out[0]));
}

void clip_coefficient_gpu(KernelArgs& a) {
  launch(a, 0, clip_coefficient, 1, 1, 0, elements(a.in[0]), static_cast<float>(a.as<ClipAttrs>().max_norm),
         elements(a.out[0]));
}

void scale_all_gpu(KernelArgs& a) {
  launch_over_list(a, 0, scale_chunks, a.out, a.n_out, elements(a.in[a.n_in - 1]));
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(grad_norm) {
  return {{"sum_squares", sum_squares_gpu},
          {"root_of_sum", root_of_sum_gpu},
          {"grad_norm", grad_norm_gpu},
          {"clip_coefficient", clip_coefficient_gpu},
          {"scale_all", scale_all_gpu}};
}
