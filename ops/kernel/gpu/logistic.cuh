// 1 / (1 + exp(-x)), to about 3 units in the last place. From exp(-|x|), which never overflows, so that large
// negative x give exp(x), not 0.
#pragma once

#include "ops/kernel/gpu/device.cuh"

namespace reckon::ops::gpu {

__device__ __forceinline__ float logistic(float x) {
  const float e = expf(-fabsf(x));
  return __fdividef(x < 0.0f ? e : 1.0f, 1.0f + e);
}

}  // namespace reckon::ops::gpu
