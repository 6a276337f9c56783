// What the files of norm_linear's GPU kernels show each other.
#pragma once

#include "ops/kernel/gpu/norm_tile.cuh"
#include "ops/norm_linear/norm_linear_attrs.h"
#include "ops/norm_linear/norm_linear_gpu.h"

namespace reckon::ops::gpu {

void norm_linear_backward_gpu(KernelArgs& a);

// For rows wider than tiles.
void norm_linear_wide_gpu(KernelArgs& a);
void norm_linear_backward_wide_gpu(KernelArgs& a);

}  // namespace reckon::ops::gpu
