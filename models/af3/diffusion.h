// The diffusion network (AlphaFold 3, algorithms 20 and 21) with the preconditioning
// of Karras et al., and a sampler.
// Shape letters: D copies of the structure, N tokens, A atoms.
#pragma once

#include "models/af3/trunk.h"

namespace reckon::models::af3 {

// What every call of the network reads of the trunk, in f32.
struct DiffusionInputs {
  const TrunkOutput* trunk = nullptr;
  const Example* example = nullptr;
  Tensor pair_condition;  // the pair conditioner's output when it was made once for all calls; else undefined
};

class DiffusionNetwork {
 public:
  DiffusionNetwork(Builder& b, const Config& c);

  Tensor pair_condition(const TrunkOutput& trunk) const;  // [1, N, N, c_z]
  // Denoised coordinates from noised ones [D, A, 3] and their noise row [D, 1, 5] (example.h).
  Tensor denoise(const Tensor& noised, const Tensor& noise, const DiffusionInputs& in) const;
  // Heun's method from pure noise, without gradients: 2 * steps - 1 calls. Returns [1, A, 3].
  Tensor sample(const Tensor& noise_stream, const DiffusionInputs& in) const;

 private:
  // [D, N, c_cond]
  Tensor single_condition(const Tensor& time_D1, const TrunkOutput& trunk) const;
  Tensor update(const Tensor& scaled, const Tensor& time_D1, const DiffusionInputs& in) const;

  Config config_;
  LayerNorm single_norm_, fourier_norm_, pair_norm_;
  Linear fourier_, from_fourier_, from_pair_;
  std::vector<Transition> single_transitions_, pair_transitions_;
  Linear positions_, atom_condition_, atompair_condition_, pool_, token_condition_, to_atoms_, to_positions_;
  LayerNorm atom_condition_norm_, atompair_condition_norm_, token_condition_norm_, token_norm_, position_norm_;
  Tensor missing_;
  AtomPairTerms pair_terms_;
  ConditionedStack encoder_, tokens_, decoder_;
};

}  // namespace reckon::models::af3
