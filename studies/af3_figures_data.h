// The settings under which the AF3-shaped model is compared with published figures of a public baseline, and
// the rules that group its events. Dry runs of these settings through models/train/trainer.h give the event
// logs; studies/framework_events.h and profiler/saved_groups.h read them. Called by figures and tests;
// docs/af3.md states every choice.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/train/options.h"

namespace reckon::models::af3 {

// One step as it was profiled: 3 recycles, every checkpoint on, 48 augmentations and a frame average in 13
// chunks, four templates, confidence with a rollout of 39 calls. Counts do not depend on `tokens`.
RunOptions profiled_step(int64_t tokens);

// Modules that the baseline runs under autocast: all but diffusion, heads and losses.
std::vector<std::string> autocast_modules();

// Activations without any checkpoint at crops of 64 to 192 tokens.
RunOptions activation_step(int64_t tokens);

// Peak memory with every checkpoint on; `fused`: with the ops that a kernel library for this model offers
// (transition, attention).
RunOptions checkpointed_step(int64_t tokens, autograd::FusionSet fuse);

// Everything that lowers the peak: fused ops, checkpoints, 16-bit products in
// every part, one conditioner a step.
RunOptions smallest_step(int64_t tokens);

// Operator family of what a module keeps for backward: "transition", "attention" or "other".
std::string_view operator_family(std::string_view module);

}  // namespace reckon::models::af3
