// The formulas of the update, each rounded in one given way: the eager steps and the
// fused kernel give the same bits.
#pragma once

#include "ops/kernel/gpu/device.cuh"

namespace reckon::ops::gpu {

__device__ __forceinline__ float lerp_to(float a, float b, float w) { return fmaf(w, b - a, a); }
__device__ __forceinline__ float lerp_to_square(float a, float b, float w) {
  return fmaf(w, fmaf(b, b, -a), a);
}
__device__ __forceinline__ float scaled_sum(float a, float b, float s) { return fmaf(s, b, a); }
__device__ __forceinline__ float root_term(float v, float f, float eps) { return fmaf(sqrtf(v), f, eps); }
__device__ __forceinline__ float quotient_sum(float a, float b, float c, float s) { return fmaf(s, b / c, a); }

}  // namespace reckon::ops::gpu
