#include "simt/backend.h"
#include "tests/gpu/gpu_device.h"

namespace reckon::testing {

DeviceSpec gpu_spec() { return simt::spec(); }

std::unique_ptr<Device> make_gpu(DeviceOptions options) {
  return std::make_unique<Device>(DeviceKind::cuda, simt::spec(), options, simt::make_backend());
}

}  // namespace reckon::testing
