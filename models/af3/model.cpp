#include "models/af3/model.h"

#include "autograd/autocast.h"
#include "autograd/engine.h"
#include "autograd/node.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/view/view.h"
#include "runtime/events/scope.h"

namespace reckon::models::af3 {

Model::Model(Device& device, const Config& config, uint64_t seed, DType dtype) : config_(config) {
  config_.validate();
  Builder b(device, dtype, seed, parameters_);
  trunk_ = std::make_unique<Trunk>(b, config_);
  diffusion_ = std::make_unique<DiffusionNetwork>(b, config_);
  distogram_ = std::make_unique<DistogramHead>(b, config_);
  confidence_ = std::make_unique<ConfidenceHead>(b, config_);
}

namespace {

// The trunk's outputs cut off from its graph: leaves that collect gradients until
// the trunk's own backward pass.
class Cut {
 public:
  void add(Tensor& t) {
    if (!t.requires_grad()) return;
    whole_.push_back(t);
    t = t.detached();
    autograd::set_requires_grad(t);
    leaves_.push_back(t);
  }
  // Appends what was cut, where a gradient arrived, and its gradient.
  void collect(TensorList& roots, TensorList& seeds) {
    for (size_t i = 0; i < whole_.size(); ++i)
      if (const Tensor g = autograd::grad_of(leaves_[i]); g.defined()) {
        // Of a leaf it was a gradient; from here on it is a tensor of the step.
        autograd::clear_grad(leaves_[i]);
        g.storage()->set_category(Category::transient);
        roots.push_back(whole_[i]);
        seeds.push_back(g);
      }
    whole_.clear();
    leaves_.clear();
  }

 private:
  TensorList whole_, leaves_;
};

void backward_now(const TensorList& roots, const TensorList& seeds) {
  const autograd::AutocastScope full(DType::f32);
  autograd::backward(roots, seeds);
}

}  // namespace

Model::Loss Model::loss(const Example& e, const StepOptions& step, DType trunk_dtype, bool training) const {
  const DropoutSource drop{.training = training, .recorded = {}};
  TrunkOutput trunk = [&] {
    const autograd::AutocastScope precision(trunk_dtype);
    return (*trunk_)(e, step.recycles, drop);
  }();
  Tensor loss;
  {
    const autograd::AutocastScope precision(step.head_dtype);
    loss = ops::scale(distogram_->loss(trunk.pair, e), config_.distogram_weight);
  }
  Cut trunk_cut, condition_cut;
  if (step.backward_per_chunk)
    for (Tensor* t :
         {&trunk.atoms, &trunk.atom_pairs, &trunk.relative, &trunk.single_inputs, &trunk.single, &trunk.pair})
      trunk_cut.add(*t);
  const auto add_term = [&](const Tensor& term, double weight) {
    const PhaseScope phase(Phase::loss);
    Tensor weighted = ops::scale(term, weight);
    if (step.backward_per_chunk) {
      backward_now({weighted}, {Tensor{}});
      weighted = weighted.detached();
    }
    loss = ops::add(loss, weighted);
  };
  Tensor structure;  // what the confidence head judges
  {
    const autograd::AutocastScope precision(step.diffusion_dtype);
    DiffusionInputs in{&trunk, &e, {}};
    if (step.hoist_conditioner) {
      in.pair_condition = diffusion_->pair_condition(trunk);
      if (step.backward_per_chunk) condition_cut.add(in.pair_condition);
    }
    for (int64_t first = 0; first < step.augmentations; first += step.chunk) {
      const int64_t last = std::min(first + step.chunk, step.augmentations);
      const Tensor noise = ops::slice(e.noise, 0, first, last), truth = ops::slice(e.truth, 0, first, last);
      const Tensor denoised = diffusion_->denoise(ops::slice(e.noised, 0, first, last), noise, in);
      if (first == 0) structure = ops::slice(denoised.detached(), 0, 0, 1);
      const autograd::AutocastScope full(DType::f32);
      add_term(
          ops::add(denoising_loss(denoised, truth, noise, step.augmentations),
                   smooth_lddt_loss(denoised, e, step.augmentations, step.backward_per_chunk ? 1 : step.chunk)),
          config_.diffusion_weight);
    }
    if (in.pair_condition.defined()) in.pair_condition = in.pair_condition.detached();
    if (step.backward_per_chunk && step.hoist_conditioner) {
      TensorList roots, seeds;
      condition_cut.collect(roots, seeds);
      backward_now(roots, seeds);
    }
    if (step.rollout) structure = diffusion_->sample(e.rollout_noise, in);
  }
  if (step.confidence) {
    const Tensor term = [&] {
      const autograd::AutocastScope precision(step.head_dtype);
      return confidence_->loss(trunk, ops::cast(structure, DType::f32), e, drop);
    }();
    add_term(term, config_.confidence_weight);
  }
  Loss out{loss, {loss}, {Tensor{}}};
  trunk_cut.collect(out.roots, out.seeds);
  return out;
}

}  // namespace reckon::models::af3
