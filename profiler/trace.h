// An event log as Chrome trace JSON (opens in ui.perfetto.dev and chrome://tracing): a track of ops per phase,
// a track of steps, and memory counters stacked by category. Times are measured.
#pragma once

#include <span>
#include <string>

#include "runtime/events/event.h"

namespace reckon::profiler {

std::string trace_json(std::span<const Event> events);
void write_trace(const std::string& path, std::span<const Event> events);

}  // namespace reckon::profiler
