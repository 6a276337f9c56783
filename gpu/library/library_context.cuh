// What library calls keep from one call to the next: handles and the algorithms chosen so far. One per
// device, owned by the plugin's backend and handed to kernels as KernelArgs::context; used by the
// thread that runs the device's ops.
#pragma once

#include <memory>

#include "runtime/device_observer.h"

namespace reckon::ops::gpu {

struct LibraryState {
  virtual ~LibraryState() = default;
};

struct LibraryContext {
  LibraryContext();  // of the current CUDA device; creates the handle for matrix products. Throws Error
  ~LibraryContext();
  LibraryContext(const LibraryContext&) = delete;
  LibraryContext& operator=(const LibraryContext&) = delete;

  DeviceTracer* tracer = nullptr;          // hears of each product's shape; null: nobody watches
  std::unique_ptr<LibraryState> products;  // cuBLASLt's: gpu/library/device_gemm.cu
  std::unique_ptr<LibraryState>
      convolutions;  // cuDNN's, made at the first convolution: gpu/library/device_convolution.cu
};

}  // namespace reckon::ops::gpu
