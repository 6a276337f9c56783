#include "ops/grad_scaler/grad_scaler_attrs.h"
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/list_launch.cuh"

namespace reckon::ops::gpu {
namespace {

constexpr int kAnyThreads = 1024;

// An exponent of ones: infinity or NaN, whatever the compiler thinks of comparisons.
__device__ __forceinline__ bool is_finite(float v) { return (__float_as_uint(v) & 0x7f800000u) != 0x7f800000u; }

__global__ void __launch_bounds__(kListThreads)
    flag_chunks(const __grid_constant__ TensorsOfLaunch l, unsigned char* flags) {
  __shared__ int found;
  if (threadIdx.x == 0) found = 0;
  __syncthreads();
  const ListChunk c = chunk_of_block(l);
  int own = 0;
  c.each([&](const float(&v)[4], int n, int64_t) {
    own |= !is_finite(v[0]);
    if (n == 4) own |= !is_finite(v[1]) | !is_finite(v[2]) | !is_finite(v[3]);
  });
  if (own) atomicOr(&found, 1);
  __syncthreads();
  if (threadIdx.x == 0) flags[c.index] = static_cast<unsigned char>(found);
}

__global__ void __launch_bounds__(kAnyThreads) any_flag(const unsigned char* flags, int64_t n, float* result) {
  __shared__ int found;
  if (threadIdx.x == 0) found = 0;
  __syncthreads();
  int own = 0;
  for (int64_t i = threadIdx.x; i < n; i += kAnyThreads) own |= flags[i];
  if (own) atomicOr(&found, 1);
  __syncthreads();
  if (threadIdx.x == 0) *result = found ? 1.0f : 0.0f;
}

// The rule of scaler_update in grad_scaler.h, by one thread.
__global__ void update_scale(Elements scale, long long* tracker, Elements found_inf, float growth,
                             float backoff, long long interval) {
  const float now = load(scale, 0), larger = now * growth;
  const bool found = !(load(found_inf, 0) == 0.0f), full = *tracker + 1 == interval;
  store(scale, 0, found ? now * backoff : (full && is_finite(larger) ? larger : now));
  *tracker = found || full ? 0 : *tracker + 1;
}

void non_finite_gpu(KernelArgs& a) {
  auto* flags = reinterpret_cast<unsigned char*>(a.workspace[0]);
  int64_t n_chunks = 0;
  for (int k = 0; k < a.n_in; ++k) n_chunks += gpu_list_chunks(a.in[k].numel());
  const int next = launch_over_list(a, 0, flag_chunks, a.in, a.n_in, flags);
  launch(a, next, any_flag, 1, kAnyThreads, 0, flags, n_chunks, a.out[0].as<float>());
}

void scaler_update_gpu(KernelArgs& a) {
  const auto& t = a.as<ScalerAttrs>();
  launch(a, 0, update_scale, 1, 1, 0, elements(a.out[0]), a.out[1].as<long long>(),
         elements(a.in[scaler_update_in::found_inf]), static_cast<float>(t.growth),
         static_cast<float>(t.backoff), t.interval);
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(grad_scaler) {
  return {{"non_finite", non_finite_gpu}, {"scaler_update", scaler_update_gpu}};
}
