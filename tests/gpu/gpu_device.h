// The GPU under test: the emulator in the simt tier, the card itself in the cuda tier. The tests are the same.
#pragma once

#include <memory>

#include "runtime/device.h"

namespace reckon::testing {

std::unique_ptr<Device> make_gpu(DeviceOptions options = {});
DeviceSpec gpu_spec();  // of that device, for the dry run beside it

}  // namespace reckon::testing
