#include "gpu/check.h"

#include "runtime/core/error.h"

namespace reckon::ops::gpu {

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  raise_error(fmt::format("{} failed: {} ({}, CUDA error {})", what, cudaGetErrorString(status),
                          cudaGetErrorName(status), static_cast<int>(status)));
}

}  // namespace reckon::ops::gpu
