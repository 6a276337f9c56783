// Sizes of an AlphaFold 3 Pairformer stack and of the masked-residue model around it. Read by the block, the
// training task and `reckon plan`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/evoformer/config.h"

namespace reckon::models {

struct PairformerConfig {
  std::string name = "pairformer";
  int64_t c_s = 384, c_z = 128;
  int64_t heads_single = 16;                   // of width c_s / heads_single
  int64_t c_hidden_pair = 32, heads_pair = 4;  // width per head, heads
  int64_t c_hidden_mul = 128;
  int64_t pair_transition_n = 4, single_transition_n = 4;
  int64_t blocks = 48;
  double pair_dropout = 0.25;
  bool fuse_projection_weights = false;  // a and b projections of the triangle update in one weight
  double single_mask_value = 1e9;        // subtracted from logits of masked keys in the single attention

  void validate() const;
  PairStackConfig pair_stack() const;
  // Closed forms: one block, the blocks, and the blocks with embedder and head of MaskedResidueModel.
  int64_t n_parameters_per_block() const;
  int64_t n_parameters_of_blocks() const { return blocks * n_parameters_per_block(); }
  int64_t n_parameters() const;
  static PairformerConfig preset(const std::string& name);
  static std::vector<std::string> preset_names();
};

// What the model around the blocks reads and predicts.
struct ResidueAlphabet {
  static constexpr int64_t kInputs = 23;             // 20 amino acids, unknown, gap, mask
  static constexpr int64_t kTargets = 22;            // the mask is never a target; also the width of a profile
  static constexpr int64_t kRelativePositions = 65;  // offsets clipped to +-32
};

}  // namespace reckon::models
