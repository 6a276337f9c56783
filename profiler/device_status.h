// CUPTI's result codes as one line for people: what is missing and what to do about it. Pure; the
// numbers are those of cupti_result.h.
#pragma once

#include <string>
#include <string_view>

namespace reckon::profiler::cupti {

// `doing`: what was attempted ("tracing", "reading counters"). `rival`: who holds
// the place, where CUPTI said so.
std::string explain(int result, std::string_view doing, std::string_view rival = {});

}  // namespace reckon::profiler::cupti
