// The operator events an eager framework's profiler would have shown for a step: counted from a log of op
// calls, under rules that are written down here. Called by figures and tests.
//
// Op calls of the forward direction count: phases forward, loss and recompute (a framework runs a
// checkpointed segment again as a whole, and so does reckon). Backward has operators of other names in both.
// Rules that the log cannot know:
// - A linear layer inside an autocast region appears twice, as the wrapper that casts and as the operator it
//   redispatches to. The other operators counted here are not wrapped a second time under the name counted.
// - An activation inside a gated linear unit is part of that operator, not an event of its own (reckon: op
//   mul_sigmoid).
// Counts of launches differ: one such operator may be several kernels or none.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/events/event.h"

namespace reckon::profiler {

struct FrameworkRules {
  // Modules (path prefixes, such as "trunk" for "trunk" and "trunk.*") that ran under autocast.
  std::vector<std::string> autocast_modules;
};

struct FrameworkEvents {
  int64_t linear_calls = 0;  // as the model made them
  int64_t linear = 0;        // as the framework's profiler lists them
  int64_t native_layer_norm = 0, sigmoid = 0, silu = 0;
  friend bool operator==(const FrameworkEvents&, const FrameworkEvents&) = default;
};

FrameworkEvents framework_events(std::span<const Event> events, const FrameworkRules& rules);

// Whether `module` is `prefix` or inside it.
bool inside_module(std::string_view module, std::string_view prefix);

}  // namespace reckon::profiler
