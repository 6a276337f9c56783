#include "cli/device_watch.h"

#include "runtime/core/error.h"

namespace reckon::cli {

void DeviceWatch::check(const std::string& mode, DeviceKind device) {
  RECKON_CHECK(mode != "counters" || device == DeviceKind::cuda,
               "--trace-device counters reads a GPU's counters and needs --device cuda, got --device {}",
               name_of(device));
}

DeviceWatch::DeviceWatch(Device& device, const std::string& mode, DType dtype, int64_t first_step,
                         int64_t steps)
    : device_(device) {
  if (mode == "off" || !device.backend()) return;
  std::string why;
  DeviceTracer* tracer = device.backend()->tracer(&why);
  if (tracer) {
    trace_ = std::make_unique<profiler::DeviceTrace>(device, *tracer);
    if (!trace_->start(&why)) trace_.reset();
  }
  if (!trace_) {
    fmt::print(stderr, "the device is not watched: {}; what it does is counted as it is announced\n", why);
    return;
  }
  device.add_sink(trace_.get());
  // The first step makes the optimizer's state and differs from the others.
  if (mode == "counters") trace_->count_steps(first_step + 1, steps - 1, name_of(dtype));
}

DeviceWatch::~DeviceWatch() {
  if (trace_) device_.remove_sink(trace_.get());
}

std::optional<profiler::DeviceBooks> DeviceWatch::finish() {
  if (!trace_) return std::nullopt;
  return trace_->finish();
}

}  // namespace reckon::cli
