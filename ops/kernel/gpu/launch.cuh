// The door for launches of GPU code: announces launch `index` of the plan and queues
// the kernel. One call, one kernel.
#pragma once

#include "ops/kernel/gpu/device.cuh"

namespace reckon::ops::gpu {

#if defined(__CUDACC__)

// Throws Error with CUDA's name and text of the error unless it is success. Defined in gpu/check.cpp.
void check(cudaError_t status, const char* what);

template <class... P, class... A>
void launch(const KernelArgs& args, int index, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
            A&&... a) {
  args.launch(index);
  if (shared_bytes > 48 * 1024)
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                               cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
          "setting a kernel's shared memory");
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = static_cast<cudaStream_t>(args.stream);
  check(cudaLaunchKernelEx(&config, kernel, static_cast<P>(a)...), "a kernel launch");
}

#else

template <class... P, class... A>
void launch(const KernelArgs& args, int index, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
            A&&... a) {
  args.launch(index);
  ::simt::launch(kernel, grid, block, shared_bytes, static_cast<P>(a)...);
}

#endif

// Blocks that cover n items, `per_block` each; at least one, so that an empty tensor still makes its planned
// launch. A grid's x extent reaches 2^31 - 1.
inline unsigned blocks_for(int64_t n, int64_t per_block) {
  const int64_t blocks = (n + per_block - 1) / per_block;
  return static_cast<unsigned>(blocks < 1 ? 1 : (blocks > 0x7fffffff ? 0x7fffffff : blocks));
}

}  // namespace reckon::ops::gpu
