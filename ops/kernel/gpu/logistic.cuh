// 1 / (1 + exp(-x)), to about 3 units in the last place. Large -x gives 1 / infinity = 0.
#pragma once

#include "ops/kernel/gpu/device.cuh"

namespace reckon::ops::gpu {

__device__ __forceinline__ float logistic(float x) { return __fdividef(1.0f, 1.0f + expf(-x)); }

}  // namespace reckon::ops::gpu
