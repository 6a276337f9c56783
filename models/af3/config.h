// Sizes of an AlphaFold-3-shaped model and the knobs of one of its training steps. The preset `af3` has the
// sizes of a public baseline (docs/af3.md); `demo` and `tiny` keep the structure and run on a CPU. Read by
// every file of the family.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/core/dtype.h"

namespace reckon::models::af3 {

struct Config {
  std::string name = "af3";
  // Channels of the tracks.
  int64_t c_s = 384, c_z = 128, c_token = 768, c_atom = 128, c_atompair = 16, c_msa = 64, c_template = 64;
  // Heads and width per head.
  int64_t tri_heads = 4, tri_width = 32;         // triangle attention
  int64_t single_heads = 16, single_width = 64;  // pair-bias attention of the trunk
  int64_t msa_heads = 8, msa_width = 32;
  int64_t token_heads = 16, token_width = 64;
  int64_t atom_heads = 4, atom_width = 64;
  // Depths.
  int64_t pairformer_blocks = 48, msa_blocks = 4, template_blocks = 2, confidence_blocks = 4;
  int64_t token_layers = 24, atom_layers = 3;
  int64_t conditioner_transitions = 2;
  int64_t trunk_transition = 4, diffusion_transition = 2;
  int64_t c_outer = 32;  // of the outer product mean
  int64_t window = 27;   // queries of an atom window; keys are this window and the one before
  // Widths of the input features.
  int64_t atom_features = 3, atompair_features = 5, template_features = 108, msa_symbols = 32, msa_extra = 2,
          token_extra = 33;
  int64_t molecule_types = 33, atom_types = 47, atompair_types = 11, modifications = 4;
  int64_t position_reach = 32, chain_reach = 2;
  int64_t fourier = 256;
  int64_t distance_bins = 64, plddt_bins = 50, pde_bins = 64, pae_bins = 64, confidence_distance_bins = 16;
  double pair_dropout = 0.25, single_dropout = 0.25, msa_dropout = 0.15;
  double sigma_data = 16.0, noise_mean = -1.2, noise_spread = 1.2;
  double distogram_weight = 0.03, diffusion_weight = 4.0, confidence_weight = 1e-4;
  int64_t rollout_steps = 20;  // of the sampler; Heun calls the network 2 * steps - 1 times

  int64_t c_single_inputs() const { return c_s + token_extra; }
  int64_t c_condition() const { return c_s + c_single_inputs(); }  // 801 at full size
  int64_t relative_features() const { return 2 * (2 * position_reach + 2) + 1 + 2 * chain_reach + 2; }
  int64_t rollout_calls() const { return 2 * rollout_steps - 1; }

  void validate() const;
  static Config preset(const std::string& name);
  static std::vector<std::string> preset_names();
  // Closed forms of the parameter count, part by part, in the order of docs/af3.md.
  std::vector<std::pair<std::string, int64_t>> n_parameters_by_part() const;
  int64_t n_parameters() const;
};

// What a training step does; sizes of the example included. 0: the preset's.
struct StepOptions {
  int64_t tokens = 0, atoms_per_token = 0, msa_rows = 0;
  int64_t templates = -1;          // -1: the preset's
  int64_t recycles = 0;            // trunk passes; all but the last are detached
  int64_t augmentations = 0;       // noised copies of the structure
  int64_t chunk = 0;               // copies per call of the diffusion network
  bool confidence = true;          // confidence head and its losses
  bool rollout = false;            // confidence reads a sampled structure instead of the first denoised copy
  bool hoist_conditioner = false;  // pair conditioning once per step, not once per call of the network
  // Gradients of every chunk, and of the confidence head, right after its forward pass; lDDT copy by copy.
  bool backward_per_chunk = false;

  DType diffusion_dtype = DType::f32, head_dtype = DType::f32;

  void resolve(const Config& config);
  int64_t atoms() const { return tokens * atoms_per_token; }
  int64_t chunks() const { return (augmentations + chunk - 1) / chunk; }
  int64_t windows(const Config& c) const { return (atoms() + c.window - 1) / c.window; }
};

}  // namespace reckon::models::af3
