// Masked-residue training of a Pairformer stack: one sequence of an alignment and the profile of its other rows
// go in, the hidden residues come out of the single track. AlphaFold 3's own losses need structures; this one
// needs an alignment only. Called by the Pairformer training task.
#pragma once

#include <memory>

#include "models/pairformer/pairformer.h"

namespace reckon::models {

struct ResidueTensors {
  Tensor residues;  // i64 [B, N]: residue 0..21, 22 = masked
  Tensor targets;   // i64 [B, N]: the true residue where masked, else -100
  Tensor profile;   // f32 [B, N, 22]: shares of each residue in the column, without the sequence itself
  Tensor relative_position;  // i64 [B, N, N]: clipped offset, 0..64
  Tensor single_mask;        // f32 [B, N]
  Tensor pair_mask;          // f32 [B, N, N]
};

// The embedder is AlphaFold 3's (algorithm 1): single and pair start as linear maps of the same inputs, here
// residue and profile, and the pair track adds the relative position.
class MaskedResidueModel {
 public:
  MaskedResidueModel(Device& device, const PairformerConfig& config, uint64_t seed, DType dtype = DType::f32);
  // Mean cross entropy over masked residues; shape [].
  Tensor loss(const ResidueTensors& batch, bool training) const;
  const ParameterSet& parameters() const { return parameters_; }
  const PairformerConfig& config() const { return config_; }

 private:
  // A table for the residue and a linear layer for the profile: together one linear map of both.
  struct Embedder {
    Tensor residue;
    Linear profile;
    Tensor operator()(const ResidueTensors& batch) const;
  };
  static Embedder embedder(Builder& b, std::string_view name, int64_t width);

  PairformerConfig config_;
  ParameterSet parameters_;
  Embedder single_, left_, right_;
  Tensor position_embedding_;
  std::vector<std::unique_ptr<PairformerBlock>> blocks_;
  LayerNorm head_norm_;  // nothing in the blocks bounds the sum of residuals
  Tensor head_weight_;   // [22, c_s], no bias: it can go straight into the fused loss
};

}  // namespace reckon::models
