// Files what a tracer saw under the ops that asked for it. Pure: records in, books out.
//
// Two passes, since records of one API call may lie in different buffers in any order: first which API
// call belongs to which op call, then kernels, copies and sets by their API call. What belongs to no op
// is listed by name, never spread.
#pragma once

#include <array>
#include <span>

#include "profiler/device_books.h"

namespace reckon::profiler {

// One op call of a device and what it announced while it ran.
struct CallRow {
  int64_t call = 0;
  NameId op{}, module{};
  Phase phase{};
  std::array<int64_t, kLaunchKinds> announced{};
};

// `calls` in order of their numbers.
DeviceStep join(const Activity& activity, std::span<const CallRow> calls, int64_t step);

// Whether a kernel is one of reckon's: its name, mangled or not, carries the namespace reckon::ops::gpu.
bool is_own_kernel(std::string_view name);

// Whether the launches seen of one call are those it announced. Every announced kernel must be seen as
// one kernel of ours; an announced fill or copy may be a set or copy of the driver's instead. Library
// calls may make any launches of their own, and end in an unannounced kernel of ours where the library
// leaves a part of the work undone.
bool launches_agree(const std::array<int64_t, kLaunchKinds>& announced, int64_t own_kernels, int64_t copies,
                    int64_t sets);

}  // namespace reckon::profiler
