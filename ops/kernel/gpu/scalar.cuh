// The functions that formulas call, on the GPU: the counterpart of ops/kernel/cpu/scalar.h, in f32.
#pragma once

#include "ops/kernel/gpu/angle.cuh"
#include "ops/kernel/gpu/logistic.cuh"

namespace reckon::ops::gpu {

__device__ __forceinline__ float k_exp(float x) { return expf(x); }
__device__ __forceinline__ float k_sigmoid(float x) { return logistic(x); }
__device__ __forceinline__ float k_tanh(float x) { return tanhf(x); }
__device__ __forceinline__ float k_erf(float x) { return erff(x); }
__device__ __forceinline__ float k_log(float x) { return logf(x); }
__device__ __forceinline__ float k_sqrt(float x) { return sqrtf(x); }
// As on the CPU: b where either is NaN.
__device__ __forceinline__ float k_max(float a, float b) { return a > b ? a : b; }
__device__ __forceinline__ float k_sin(float x) {
  float sine, cosine;
  sine_cosine(x, &sine, &cosine);
  return sine;
}
__device__ __forceinline__ float k_cos(float x) {
  float sine, cosine;
  sine_cosine(x, &sine, &cosine);
  return cosine;
}

}  // namespace reckon::ops::gpu
