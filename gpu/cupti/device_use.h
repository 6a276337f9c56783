// How much of a device's memory is in use, all processes together: by the driver's management library (no
// context needed), else by the runtime (makes one). Part of the CUDA plugin.
#pragma once

#include <cstdint>
#include <optional>

namespace reckon::profiler::cupti {

struct DeviceUse {
  int64_t total = 0, used = 0;
};

std::optional<DeviceUse> use_without_context(int device);
std::optional<DeviceUse> use_in_context();  // of the current device

}  // namespace reckon::profiler::cupti
