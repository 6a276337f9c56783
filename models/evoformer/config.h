// Sizes of an AlphaFold 2 Evoformer stack and of the masked-MSA model around it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace reckon::models {

struct EvoformerConfig {
  std::string name;
  int64_t c_m = 256, c_z = 128;                    // MSA and pair channels
  int64_t c_hidden_msa = 32, heads_msa = 8;        // width per head, heads
  int64_t c_hidden_pair = 32, heads_pair = 4;
  int64_t c_hidden_mul = 128, c_hidden_opm = 32;
  int64_t transition_n = 4;
  int64_t blocks = 48;
  double msa_dropout = 0.15, pair_dropout = 0.25;
  bool opm_first = false;               // multimer order
  bool mask_transitions = false;        // OpenFold's modules mask them by default, its shipped config does not
  bool fuse_projection_weights = false; // multimer v3: a and b projections of the triangle update in one weight
  double mask_value = 1e9;

  void validate() const;
  int64_t n_parameters_per_block() const;  // closed form
  static EvoformerConfig preset(const std::string& name);
  static std::vector<std::string> preset_names();
};

}  // namespace reckon::models
