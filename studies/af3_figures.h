// The figures of the AF3-shaped model, each from dry runs: what a `figures` command prints and tests check.
// Settings are in studies/af3_figures_data.h, definitions in docs/af3.md. Bytes are exact integers; GB in
// published figures are 1e9 bytes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "profiler/ledger.h"
#include "profiler/repeats.h"
#include "studies/framework_events.h"

namespace reckon::cli {

profiler::FrameworkEvents af3_operator_events(int64_t tokens = 32);

// Bytes kept for backward at the fullest moment, by operator family, without any checkpoint.
struct Af3ActivationBar {
  int64_t tokens = 0, transition = 0, attention = 0, other = 0;
  int64_t total() const { return transition + attention + other; }
};
std::vector<Af3ActivationBar> af3_activation_bars(std::span<const int64_t> tokens);

// Peak of requested bytes with block checkpoints: nothing fused; fused attention, norm-linear and transition;
// and one or both of these with the conditioner hoisted.
struct Af3PeakPoint {
  int64_t tokens = 0, eager = 0, fused = 0, eager_hoisted = 0, fused_hoisted = 0;
  int64_t smallest = 0;                                    // everything on (af3::smallest_step)
  std::vector<profiler::WorkCell> eager_work, fused_work;  // of the second step
};
std::vector<Af3PeakPoint> af3_checkpointed_peaks(std::span<const int64_t> tokens);

// What a step of the profiled setting, without rollout, does more than once.
std::vector<profiler::RepeatedSubgraph> af3_repeated_work(int64_t tokens);

}  // namespace reckon::cli
