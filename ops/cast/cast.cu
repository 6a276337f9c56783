// Conversions through f32, and row-major copies of any strides.
#include "ops/cast/cast_attrs.h"
#include "ops/kernel/gpu/elementwise.cuh"
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/list_launch.cuh"
#include "ops/kernel/gpu/strided_copy.cuh"

#include <cuda_fp8.h>

namespace reckon::ops::gpu {
namespace {

struct Same {
  __device__ __forceinline__ float operator()(float x) const { return x; }
};

__device__ __forceinline__ float load_f8(const Elements& e, int64_t i) {
  const __nv_fp8_interpretation_t kind = e.dtype == DType::f8e4m3 ? __NV_E4M3 : __NV_E5M2;
  return __half2float(__half(__nv_cvt_fp8_to_halfraw(static_cast<const __nv_fp8_storage_t*>(e.data)[i], kind)));
}

// e4m3 has no infinity and saturates; e5m2 overflows to infinity.
__device__ __forceinline__ void store_f8(const Elements& e, int64_t i, float v) {
  static_cast<__nv_fp8_storage_t*>(e.data)[i] = e.dtype == DType::f8e4m3
                                                    ? __nv_cvt_float_to_fp8(v, __NV_SATFINITE, __NV_E4M3)
                                                    : __nv_cvt_float_to_fp8(v, __NV_NOSAT, __NV_E5M2);
}

__global__ void __launch_bounds__(kElementThreads)
    cast_f8(Elements x, Elements y, int64_t n, bool from_f8, bool to_f8) {
  const int64_t i = int64_t{blockIdx.x} * kElementThreads + threadIdx.x;
  if (i >= n) return;
  const float v = from_f8 ? load_f8(x, i) : load(x, i);
  if (to_f8)
    store_f8(y, i, v);
  else
    store(y, i, v);
}

struct Destinations {
  void* data[kMostCasts];
  DType dtype;
};

__global__ void __launch_bounds__(kListThreads) cast_list(TensorsOfLaunch list, Destinations to) {
  const ListChunk chunk = chunk_of_block(list);
  const Elements out{to.data[chunk.tensor], to.dtype};
  chunk.each([&](const float* v, int n, int64_t i) {
    if (n == 4)
      store4(out, i, {v[0], v[1], v[2], v[3]});
    else
      store(out, i, v[0]);
  });
}

void cast_all_gpu(KernelArgs& a) {
  Destinations to{.dtype = a.out[0].dtype};
  for (int k = 0; k < a.n_out; ++k) to.data[k] = a.out[k].data;
  launch_over_list(a, 0, cast_list, a.in, a.n_in, to);
}

bool is_f8(DType t) { return t == DType::f8e4m3 || t == DType::f8e5m2; }

void contiguous_gpu(KernelArgs& a) {
  const TensorArg &x = a.in[0], &y = a.out[0];
  launch_copy(a, 0,
              copy_in_bytes(x.rank, x.shape, static_cast<int64_t>(size_of(x.dtype)), x.data, x.strides, y.data,
                            y.strides));
}

void cast_gpu(KernelArgs& a) {
  const TensorArg &x = a.in[0], &y = a.out[0];
  if (x.dtype == y.dtype) return contiguous_gpu(a);
  if (!is_f8(x.dtype) && !is_f8(y.dtype)) return elementwise<1, 1>(a, Same{});
  const int64_t n = y.numel();
  launch(a, 0, cast_f8, blocks_for(n, kElementThreads), kElementThreads, 0, elements(x), elements(y), n,
         is_f8(x.dtype), is_f8(y.dtype));
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(cast) {
  return {{"cast", cast_gpu}, {"cast_all", cast_all_gpu}, {"contiguous", contiguous_gpu}};
}
