// Distogram and confidence heads with their losses, and the losses of the diffusion network. All read detached
// or final tracks and run under the heads' precision; losses are f32. Shape letters as in example.h.
#pragma once

#include "models/af3/trunk.h"

namespace reckon::models::af3 {

class DistogramHead {
 public:
  DistogramHead(Builder& b, const Config& c);
  Tensor loss(const Tensor& z_1NNC, const Example& e) const;

 private:
  Linear to_bins_;
};

// Predicts how good a structure is: lDDT and existence of every atom, distance and alignment errors of token
// pairs, and the affinity of a ligand. Sees the trunk and the structure without passing gradients to them.
class ConfidenceHead {
 public:
  ConfidenceHead(Builder& b, const Config& c);
  Tensor loss(const TrunkOutput& trunk, const Tensor& structure_1A3, const Example& e,
              const DropoutSource& drop) const;

 private:
  Config config_;
  LayerNorm single_norm_, pair_norm_;
  Linear single_, single_inputs_, pair_, pair_inputs_, atoms_;
  Tensor distance_embedding_;
  std::vector<std::unique_ptr<PairformerLayer>> layers_;
  Linear to_pae_, to_pde_, to_plddt_, to_resolved_, affinity_pool_, to_affinity_;
};

// Mean over copies of the noise's weight times the mean squared error of
// coordinates; `total` copies make a step.
Tensor denoising_loss(const Tensor& denoised_DA3, const Tensor& truth_DA3, const Tensor& noise_D15,
                      int64_t total);

// Sum over copies of 1 - smooth lDDT, over `total`. Always recomputed in backward, `at_once` copies together:
// [D, A, A] tensors would dominate.
Tensor smooth_lddt_loss(const Tensor& denoised_DA3, const Example& e, int64_t total, int64_t at_once);

}  // namespace reckon::models::af3
