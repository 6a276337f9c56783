// Work a step does more than once: modules that ran again on the inputs they had before, so that one run would
// have served all. Called by figures and tests.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/events/event.h"

namespace reckon::profiler {

struct RepeatedSubgraph {
  std::string module;
  int64_t executions = 0;  // on equal inputs
  int64_t ops = 0;         // of one execution
  int64_t made_bytes = 0;  // outputs of one execution
  int64_t kept_bytes = 0;  // those of all executions that backward kept
  int64_t flops = 0;       // matmul and vector FLOPs of one execution
  // What running once would spare.
  int64_t spare_kept_bytes() const { return kept_bytes - kept_bytes / executions; }
  int64_t spare_flops() const { return (executions - 1) * flops; }
};

// Reads the op calls of the forward direction (phases forward and loss; recomputation repeats by
// design). An execution of a module is a run of calls in it or below it without others between.
// Executions are equal when their calls are, one by one (Event::signature: op, attributes and the
// identity of every input), so values are never looked at. Only the outermost module of what repeats is
// listed; the largest in FLOPs spared comes first.
std::vector<RepeatedSubgraph> find_repeated_subgraphs(std::span<const Event> step_events);

}  // namespace reckon::profiler
