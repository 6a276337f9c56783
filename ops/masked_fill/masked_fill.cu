// x where the mask is zero, the value elsewhere; the mask broadcasts.
#include "ops/kernel/gpu/elementwise.cuh"
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/masked_fill/masked_fill_attrs.h"

namespace reckon::ops::gpu {
namespace {

struct FillWhereSet {
  float value;
  __device__ __forceinline__ float operator()(float x, float mask) const { return mask == 0.0f ? x : value; }
};

void masked_fill_gpu(KernelArgs& a) {
  elementwise<2, 1>(a, FillWhereSet{static_cast<float>(a.as<MaskedFillAttrs>().value)});
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(masked_fill) { return {{"masked_fill", masked_fill_gpu}}; }
