// Where a device's used memory is: the arena's share, what libraries took, what the tracer took, the
// context, and what nobody can explain. Pure: figures in, lines out; a figure that is missing stays
// unknown and is never taken for 0.
#pragma once

#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "profiler/device_books.h"
#include "profiler/driver_grants.h"

namespace reckon::profiler {

struct ClosureFigures {
  // The whole device: all processes.
  std::optional<int64_t> used_now, used_before_context, used_after_context;
  // The arena at that moment.
  std::optional<int64_t> requested, rounded, reserved;
  // What the driver granted to whom, segments of the arena included; absent: nobody listened.
  std::optional<std::vector<Grant>> grants;
  std::string own_source;  // the source under which the arena's segments were granted
  std::optional<int64_t> tracer_bytes;
};

// used = in use before + context and modules + live tensors + rounding + free inside segments + the driver's
// rounding + library allocations by source + tracer's buffers + unexplained.
DeviceClosure close_device(const ClosureFigures& figures);

void write_closure(std::ostream& out, const DeviceClosure& closure);

}  // namespace reckon::profiler
