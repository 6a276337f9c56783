// What library calls keep from one call to the next: handles and the algorithms chosen so far. One per
// device, owned by the plugin's backend and handed to kernels as KernelArgs::context; used by the
// thread that runs the device's ops.
#pragma once

#include <memory>

#include "runtime/core/hash.h"
#include "runtime/device_observer.h"

namespace reckon::ops::gpu {

// For tables by everything that a library's choice of an algorithm follows from.
struct KeyHash {
  template <class Key>
  size_t operator()(const Key& key) const {
    uint64_t h = 1;
    for (int64_t v : key) h = mix_hash(h, static_cast<uint64_t>(v));
    return h;
  }
};

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
  // cuDNN's, made at the first convolution: gpu/library/device_convolution.cu
  std::unique_ptr<LibraryState> convolutions;
};

}  // namespace reckon::ops::gpu
