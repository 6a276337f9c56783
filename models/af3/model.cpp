#include "models/af3/model.h"

#include "autograd/autocast.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/view/view.h"
#include "runtime/scope.h"

namespace reckon::models::af3 {

Model::Model(Device& device, const Config& config, FusionSet fuse, uint64_t seed, DType dtype)
    : config_(config), fuse_(fuse) {
  config_.validate();
  Builder b(device, dtype, seed, parameters_);
  trunk_ = std::make_unique<Trunk>(b, config_);
  diffusion_ = std::make_unique<DiffusionNetwork>(b, config_);
  distogram_ = std::make_unique<DistogramHead>(b, config_);
  confidence_ = std::make_unique<ConfidenceHead>(b, config_);
}

Tensor Model::loss(const Example& e, const StepOptions& step, DType trunk_dtype, bool training) const {
  const DropoutSource drop{.training = training, .recorded = {}};
  const TrunkOutput trunk = [&] {
    const autograd::AutocastScope precision(trunk_dtype);
    return (*trunk_)(e, step.recycles, drop, fuse_);
  }();
  Tensor loss;
  {
    const autograd::AutocastScope precision(step.head_dtype);
    loss = ops::scale(distogram_->loss(trunk.pair, e), config_.distogram_weight);
  }
  Tensor structure;  // what the confidence head judges
  {
    const autograd::AutocastScope precision(step.diffusion_dtype);
    DiffusionInputs in{&trunk, &e, {}};
    if (step.hoist_conditioner) in.pair_condition = diffusion_->pair_condition(trunk, fuse_);
    for (int64_t first = 0; first < step.augmentations; first += step.chunk) {
      const int64_t last = std::min(first + step.chunk, step.augmentations);
      const Tensor noise = ops::slice(e.noise, 0, first, last), truth = ops::slice(e.truth, 0, first, last);
      const Tensor denoised = diffusion_->denoise(ops::slice(e.noised, 0, first, last), noise, in, fuse_);
      if (first == 0) structure = ops::slice(denoised.detached(), 0, 0, 1);
      const autograd::AutocastScope full(DType::f32);
      const Tensor term = ops::add(denoising_loss(denoised, truth, noise, step.augmentations),
                                   smooth_lddt_loss(denoised, e, step.augmentations));
      const PhaseScope phase(Phase::loss);
      loss = ops::add(loss, ops::scale(term, config_.diffusion_weight));
    }
    if (step.rollout) {
      if (in.pair_condition.defined()) in.pair_condition = in.pair_condition.detached();
      structure = diffusion_->sample(e.rollout_noise, in, fuse_);
    }
  }
  if (step.confidence) {
    const autograd::AutocastScope precision(step.head_dtype);
    const Tensor term = confidence_->loss(trunk, ops::cast(structure, DType::f32), e, drop, fuse_);
    const PhaseScope phase(Phase::loss);
    loss = ops::add(loss, ops::scale(term, config_.confidence_weight));
  }
  return loss;
}

std::string_view part_of_parameter(std::string_view name) {
  const auto starts = [&](std::string_view prefix) { return name.starts_with(prefix); };
  if (starts("pairformer.")) return "pairformer";
  if (starts("msa_module.")) return "msa module";
  if (starts("template_embedder.")) return "template embedder";
  if (starts("diffusion.token_transformer.")) return "token transformer";
  if (starts("diffusion.atom_encoder.") || starts("diffusion.atom_decoder.")) return "diffusion atom layers";
  if (starts("diffusion.single_conditioner.")) return "single conditioner";
  if (starts("diffusion.pair_conditioner.")) return "pair conditioner";
  if (starts("diffusion.")) return "rest of the diffusion network";
  if (starts("confidence.")) return "confidence head";
  const bool table = starts("input_embedder.atom_types") || starts("input_embedder.atompair_types") ||
                     starts("input_embedder.modifications");
  if (starts("input_embedder.") && !table) return "input embedder";
  return "other embeddings, recycling, distogram";
}

}  // namespace reckon::models::af3
