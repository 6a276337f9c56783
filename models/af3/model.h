// The AF3-shaped model: trunk, diffusion network and heads, and the loss of one training
// step. Called by the training task.
#pragma once

#include "models/af3/diffusion.h"
#include "models/af3/heads.h"

namespace reckon::models::af3 {

class Model {
 public:
  Model(Device& device, const Config& config, uint64_t seed, DType dtype = DType::f32);
  // What is left to do: backward from the roots with the seeds (undefined: 1).
  struct Loss {
    Tensor value;  // shape []; the first root
    TensorList roots, seeds;
  };
  // Trunk, diffusion and heads each run under their own precision; losses in f32. With backward_per_chunk the
  // gradients of diffusion and confidence are made here, up to the trunk's outputs, which become further roots.
  Loss loss(const Example& e, const StepOptions& step, DType trunk_dtype, bool training) const;
  const ParameterSet& parameters() const { return parameters_; }
  const Config& config() const { return config_; }

 private:
  Config config_;
  ParameterSet parameters_;
  std::unique_ptr<Trunk> trunk_;
  std::unique_ptr<DiffusionNetwork> diffusion_;
  std::unique_ptr<DistogramHead> distogram_;
  std::unique_ptr<ConfidenceHead> confidence_;
};

}  // namespace reckon::models::af3
