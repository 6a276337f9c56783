#include "runtime/core/error.h"
#include "runtime/cuda_plugin.h"
#include "tests/gpu/gpu_device.h"

namespace reckon::testing {

DeviceSpec gpu_spec() {
  static const DeviceSpec spec = make_gpu()->spec();
  return spec;
}

std::unique_ptr<Device> make_gpu(DeviceOptions options) {
  CudaResult cuda = open_cuda();
  RECKON_CHECK(cuda.backend, "the cuda tier needs a GPU: {}", cuda.why);
  DeviceSpec spec = cuda.backend->spec();
  return std::make_unique<Device>(DeviceKind::cuda, std::move(spec), options, std::move(cuda.backend));
}

}  // namespace reckon::testing
