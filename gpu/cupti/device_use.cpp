#include "gpu/cupti/device_use.h"

#include <cuda_runtime.h>
#include <dlfcn.h>

namespace reckon::profiler::cupti {
namespace {

// The few declarations of nvml.h that are needed: the toolkit does not always bring the header.
using NvmlDevice = void*;
struct NvmlMemory {
  unsigned version;
  unsigned long long total, reserved, free, used;  // `used` without what the driver reserves
};
constexpr unsigned kNvmlMemoryVersion = sizeof(NvmlMemory) | (2u << 24);

struct Nvml {
  int (*init)() = nullptr;
  int (*by_bus)(const char*, NvmlDevice*) = nullptr;
  int (*memory)(NvmlDevice, NvmlMemory*) = nullptr;
  bool usable = false;

  Nvml() {
    void* handle = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!handle) return;
    init = reinterpret_cast<decltype(init)>(dlsym(handle, "nvmlInit_v2"));
    by_bus = reinterpret_cast<decltype(by_bus)>(dlsym(handle, "nvmlDeviceGetHandleByPciBusId_v2"));
    memory = reinterpret_cast<decltype(memory)>(dlsym(handle, "nvmlDeviceGetMemoryInfo_v2"));
    usable = init && by_bus && memory && init() == 0;
  }
};

}  // namespace

std::optional<DeviceUse> use_without_context(int device) {
  static const Nvml nvml;
  char bus[32] = {};
  NvmlDevice handle = nullptr;
  NvmlMemory m{};
  m.version = kNvmlMemoryVersion;
  if (!nvml.usable || cudaDeviceGetPCIBusId(bus, sizeof(bus), device) != cudaSuccess ||
      nvml.by_bus(bus, &handle) != 0 || nvml.memory(handle, &m) != 0) {
    cudaGetLastError();  // nobody else's concern
    return std::nullopt;
  }
  return DeviceUse{static_cast<int64_t>(m.total - m.reserved), static_cast<int64_t>(m.used)};
}

std::optional<DeviceUse> use_in_context() {
  size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) {
    cudaGetLastError();
    return std::nullopt;
  }
  return DeviceUse{static_cast<int64_t>(total), static_cast<int64_t>(total - free)};
}

}  // namespace reckon::profiler::cupti
