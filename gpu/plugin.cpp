// The plugin's one exported function.
#include "runtime/cuda_plugin.h"

#include "gpu/backend.h"

namespace {

reckon::Backend* open(int device, bool trace, const char** why) {
  static std::string reason;  // outlives the call, as the caller copies it
  try {
    auto backend = reckon::cuda::open_backend(device, trace, &reason);
    *why = reason.c_str();
    return backend.release();
  } catch (const std::exception& e) {
    reason = e.what();
    *why = reason.c_str();
    return nullptr;
  }
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const reckon::CudaPlugin* reckon_cuda_plugin() {
  static const reckon::CudaPlugin plugin{RECKON_BUILD, open};
  return &plugin;
}
