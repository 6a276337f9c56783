// The af3 family: a whole AlphaFold-3-shaped training step on made-up chains.
#include "models/train/family.h"

#include "models/af3/config.h"
#include "runtime/core/error.h"

namespace reckon::models {
namespace af3 {
MakeTask make_task;  // task.cpp
}
namespace {

using af3::Config;
using af3::StepOptions;

StepSizes step_sizes(const std::string& preset) {
  return {.batch = 1, .steps = 40, .lr = preset == "tiny" ? 5e-3 : preset == "demo" ? 2e-3 : 1e-4};
}

void resolve(RunOptions& o) {
  auto& step = o.own<StepOptions>();
  RECKON_CHECK(
      o.batch == 0 || o.batch == 1,
      "af3 trains one crop at a time, as public code does: --batch must be 1, got {} (use --accumulate)",
      o.batch);
  RECKON_CHECK(!o.low_residual, "af3 keeps its residual streams in f32: leave out --residual low");
  if (o.seq > 0) step.tokens = o.seq;
  if (o.rows > 0) step.msa_rows = o.rows;
  step.resolve(Config::preset(o.preset));
  o.seq = step.tokens;
  o.rows = step.msa_rows;
  RECKON_CHECK(!step.backward_per_chunk || (o.accumulate == 1 && o.dtype != DType::f16),
               "--backward-per-chunk makes gradients before the loss is scaled: it needs --accumulate 1 and "
               "no --dtype f16");
}

ParameterFormula parameters(const RunOptions& o) {
  return {.all = Config::preset(o.preset).n_parameters(), .parts = "", .unreached = std::nullopt};
}

std::vector<FamilySetting> settings() {
  std::vector<FamilySetting> all{
      setting("--diffusion-dtype", &StepOptions::diffusion_dtype,
              "f32, bf16 or f16: products of the diffusion network (--dtype is the trunk's)"),
      setting("--head-dtype", &StepOptions::head_dtype,
              "f32, bf16 or f16: products of the distogram and confidence heads"),
      setting("--atoms-per-token", &StepOptions::atoms_per_token, "Atoms of every token"),
      setting("--templates", &StepOptions::templates, "Templates; 0: none, -1: the preset's"),
      setting("--recycles", &StepOptions::recycles, "Passes through the trunk; all but the last are detached"),
      setting("--augmentations", &StepOptions::augmentations, "Noised copies of the structure"),
      setting("--chunk", &StepOptions::chunk, "Copies per call of the diffusion network"),
      switch_to(false, "--no-confidence", &StepOptions::confidence, "Leave out the confidence head"),
      switch_to(true, "--rollout", &StepOptions::rollout,
                "The confidence head judges a structure sampled without gradients (20 Heun steps: 39 calls)"),
      switch_to(true, "--hoist-conditioner", &StepOptions::hoist_conditioner,
                "Pair conditioning once a step, not once per call of the diffusion network"),
      switch_to(true, "--backward-per-chunk", &StepOptions::backward_per_chunk,
                "Gradients of each chunk and of the confidence head right after its forward pass: one chunk's "
                "memory instead of all")};
  for (FamilySetting& s : all) {
    s.group = "af3: what a training step does (0: the preset's)";
    // These two change when and how often something is computed, not what.
    s.binding = s.flag != "--hoist-conditioner" && s.flag != "--backward-per-chunk";
  }
  return all;
}

}  // namespace

const Family& af3_family() {
  static const Family family{.name = "af3",
                             .help = "a whole AlphaFold-3-shaped training step on made-up chains",
                             .presets_help = "demo, tiny, af3",
                             .published = "af3",
                             .item = "residues",
                             .seq_help = "tokens",
                             .rows_help = "alignment rows of the crop",
                             .settings = settings(),
                             .preset_names = Config::preset_names,
                             .step_sizes = step_sizes,
                             .resolve = resolve,
                             .make_task = af3::make_task,
                             .parameters = parameters};
  return family;
}

}  // namespace reckon::models
