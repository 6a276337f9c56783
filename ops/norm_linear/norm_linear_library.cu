#include "ops/norm_linear/norm_linear.cuh"
namespace reckon::ops::gpu {
void norm_linear_through_library(KernelArgs& a) {}
void norm_linear_backward_through_library(KernelArgs& a) {}
}  // namespace reckon::ops::gpu
