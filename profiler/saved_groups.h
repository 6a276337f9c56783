// Bytes kept for backward, by groups of the modules that keep them. Called by figures and tests.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "runtime/events/event.h"

namespace reckon::profiler {

using ModuleGroup = std::function<std::string_view(std::string_view module)>;

// Groups what backward holds at the fullest moment of a step. A storage belongs to the module of the first op
// call that kept it (a residual sum belongs to the norm that reads it, not to the block that made it).
// Parameters, inputs and other storages that exist anyway are left out, so the groups sum to
// StepBooks::saved_bytes.
std::map<std::string, int64_t> saved_by_group(std::span<const Event> step_events, const ModuleGroup& group);

}  // namespace reckon::profiler
