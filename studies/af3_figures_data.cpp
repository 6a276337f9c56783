#include "studies/af3_figures_data.h"

#include "models/af3/config.h"

namespace reckon::models::af3 {
namespace {

RunOptions baseline(int64_t tokens) {
  RunOptions o;
  o.family = "af3";
  o.preset = "af3";
  o.dtype = DType::bf16;  // of the trunk; diffusion and heads stay f32
  o.steps = 1;
  o.seq = tokens;
  o.own<StepOptions>().recycles = 3;
  o.own<StepOptions>().augmentations = 48;
  o.own<StepOptions>().chunk = 4;
  o.own<StepOptions>().templates = 4;
  o.own<StepOptions>().atoms_per_token = 7;
  o.rows = 500;
  return o;
}

}  // namespace

RunOptions profiled_step(int64_t tokens) {
  RunOptions o = baseline(tokens);
  o.checkpoint = autograd::CheckpointPolicy::block;
  o.own<StepOptions>().augmentations = 49;
  o.own<StepOptions>().rollout = true;
  o.resolve();
  return o;
}

std::vector<std::string> autocast_modules() {
  return {"input_embedder", "pair_inputs", "template_embedder", "msa_module", "pairformer", "recycling"};
}

RunOptions activation_step(int64_t tokens) {
  RunOptions o = baseline(tokens);
  // The published bars leave these two open; of many pairs these come closest in every family (docs/af3.md).
  o.own<StepOptions>().atoms_per_token = 5;
  o.rows = 800;
  o.own<StepOptions>().confidence = false;
  o.resolve();
  return o;
}

RunOptions checkpointed_step(int64_t tokens, autograd::FusionSet fuse) {
  RunOptions o = baseline(tokens);
  o.steps = 2;  // the first has no optimizer state yet
  o.checkpoint = autograd::CheckpointPolicy::block;
  o.fuse = fuse;
  o.resolve();
  return o;
}

RunOptions smallest_step(int64_t tokens) {
  RunOptions o = baseline(tokens);
  o.steps = 2;  // the first has no optimizer state yet
  o.checkpoint = autograd::CheckpointPolicy::block;
  o.fuse = autograd::FusionSet::all();
  o.rows = 1000;
  o.own<StepOptions>().hoist_conditioner = o.own<StepOptions>().backward_per_chunk = true;
  o.own<StepOptions>().diffusion_dtype = o.own<StepOptions>().head_dtype = DType::bf16;
  o.resolve();
  return o;
}

std::string_view operator_family(std::string_view module) {
  bool conditioned_attention = false;
  std::string_view rest = module;
  while (!rest.empty()) {
    const size_t dot = rest.find('.');
    const std::string_view part = rest.substr(0, dot);
    rest = dot == std::string_view::npos ? std::string_view{} : rest.substr(dot + 1);
    // "conditioned_transition" is a wrapper; the transition in it is called "transition".
    if (part == "transition" || part.starts_with("transition_") ||
        (part.ends_with("_transition") && part != "conditioned_transition"))
      return "transition";
    if (part == "attention_starting" || part == "attention_ending" || part == "pair_weighted_averaging")
      return "attention";
    if (conditioned_attention && part == "core") return "attention";
    conditioned_attention = part == "attention" || part == "single_attention";
  }
  return "other";
}

}  // namespace reckon::models::af3
