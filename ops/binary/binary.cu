// Arithmetic of two tensors with broadcasting, and of a tensor with constants. `accumulate`
// is `add` into its first input.
#include "ops/binary/binary_attrs.h"
#include "ops/kernel/gpu/elementwise.cuh"
#include "ops/kernel/gpu/gpu_kernels.h"

namespace reckon::ops::gpu {
namespace {

struct Add {
  __device__ __forceinline__ float operator()(float x, float y) const { return x + y; }
};
struct Subtract {
  __device__ __forceinline__ float operator()(float x, float y) const { return x - y; }
};
struct Multiply {
  __device__ __forceinline__ float operator()(float x, float y) const { return x * y; }
};
struct Divide {
  __device__ __forceinline__ float operator()(float x, float y) const { return x / y; }
};
struct Affine {
  float scale, shift;
  __device__ __forceinline__ float operator()(float x) const { return scale * x + shift; }
};
struct Scale {
  float scale;
  __device__ __forceinline__ float operator()(float x) const { return scale * x; }
};

template <class F>
void of_two(KernelArgs& a) {
  elementwise<2, 1>(a, F{});
}

void affine_gpu(KernelArgs& a) {
  const auto& t = a.as<AffineAttrs>();
  elementwise<1, 1>(a, Affine{static_cast<float>(t.scale), static_cast<float>(t.shift)});
}
void scale_gpu(KernelArgs& a) { elementwise<1, 1>(a, Scale{static_cast<float>(a.as<AffineAttrs>().scale)}); }

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(binary) {
  return {{"add", of_two<Add>},       {"sub", of_two<Subtract>}, {"mul", of_two<Multiply>},
          {"div", of_two<Divide>},    {"affine", affine_gpu},    {"scale", scale_gpu},
          {"accumulate", of_two<Add>}};
}
