// Turns a CUDA status into an Error that names it. For the plugin's host code.
#pragma once

#include <cuda_runtime.h>

namespace reckon::ops::gpu {
void check(cudaError_t status, const char* what);  // also called where kernels are launched
}

namespace reckon::cuda {
using ops::gpu::check;
}
