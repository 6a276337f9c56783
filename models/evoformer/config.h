// Sizes of an AlphaFold 2 Evoformer stack and of the masked-MSA model around it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace reckon::models {

// The pair updates: Evoformer and Pairformer blocks share them.
struct PairStackConfig {
  int64_t c_z = 128;
  int64_t c_hidden = 32, heads = 4;  // width per head, heads
  int64_t c_hidden_mul = 128;
  int64_t transition_n = 4;
  double dropout = 0.25;
  bool mask_transition = false;
  bool fuse_projection_weights = false;
  bool biases = true;              // of the linear layers; AlphaFold 3 has none
  bool swiglu_transition = false;  // AlphaFold 3's, instead of relu
  double mask_value = 1e9;

  int64_t n_parameters() const;  // closed form
};

struct EvoformerConfig {
  std::string name;
  int64_t c_m = 256, c_z = 128;              // MSA and pair channels
  int64_t c_hidden_msa = 32, heads_msa = 8;  // width per head, heads
  int64_t c_hidden_pair = 32, heads_pair = 4;
  int64_t c_hidden_mul = 128, c_hidden_opm = 32;
  int64_t transition_n = 4;
  int64_t blocks = 48;
  double msa_dropout = 0.15, pair_dropout = 0.25;
  bool opm_first = false;         // multimer order
  bool mask_transitions = false;  // OpenFold's modules mask them by default, its shipped config does not
  // Multimer v3: a and b projections of the triangle update in one weight.
  bool fuse_projection_weights = false;
  double mask_value = 1e9;

  PairStackConfig pair_stack() const;
  void validate() const;
  int64_t n_parameters_per_block() const;  // closed form
  static EvoformerConfig preset(const std::string& name);
  static std::vector<std::string> preset_names();
};

}  // namespace reckon::models
