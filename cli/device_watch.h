// `--trace-device`: watches the GPU of a training run where there is something to watch it with.
#pragma once

#include <memory>
#include <string>

#include "profiler/device_trace.h"
#include "runtime/core/dtype.h"
#include "runtime/device_spec.h"

namespace reckon::cli {

class DeviceWatch {
 public:
  // Error when counters are asked of a device that has none.
  static void check(const std::string& mode, DeviceKind device);

  // Begins where the device's backend has a tracer; says in one line why not. Nothing on cpu and meta. `steps`
  // from `first_step` on will be made.
  DeviceWatch(Device& device, const std::string& mode, DType dtype, int64_t first_step, int64_t steps);
  ~DeviceWatch();
  DeviceWatch(const DeviceWatch&) = delete;
  DeviceWatch& operator=(const DeviceWatch&) = delete;

  // What was seen; while the run's tensors are still alive.
  std::optional<profiler::DeviceBooks> finish();

 private:
  Device& device_;
  std::unique_ptr<profiler::DeviceTrace> trace_;
};

}  // namespace reckon::cli
