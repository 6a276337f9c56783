// Included first by every .cu and .cuh: CUDA itself, or, in a build for the host, the emulator's stand-ins
// (simt/). Kernels that keep to what is offered here run unchanged in both.
#pragma once

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
// The block's dynamic shared memory as an array of T.
#define RECKON_DYNAMIC_SHARED(T, name)                                   \
  extern __shared__ __align__(16) unsigned char reckon_dynamic_shared[]; \
  T* const name = reinterpret_cast<T*>(reckon_dynamic_shared)
#else
#include <cuda_on_host.h>  // simt/include
#define RECKON_DYNAMIC_SHARED(T, name) \
  T* const name = reinterpret_cast<T*>(::simt::Machine::get().dynamic_shared())
#endif

#include "ops/kernel/kernel_args.h"
#include "runtime/core/dtype.h"
