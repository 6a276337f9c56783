#include "models/pairformer/config.h"

#include <utility>

#include "runtime/core/error.h"
#include "runtime/core/nearest_name.h"

namespace reckon::models {

void PairformerConfig::validate() const {
  for (const auto& [what, v] : {std::pair{"c_s", c_s},
                                {"c_z", c_z},
                                {"heads_single", heads_single},
                                {"c_hidden_pair", c_hidden_pair},
                                {"heads_pair", heads_pair},
                                {"c_hidden_mul", c_hidden_mul},
                                {"pair_transition_n", pair_transition_n},
                                {"single_transition_n", single_transition_n},
                                {"blocks", blocks}})
    RECKON_CHECK(v >= 1 && v <= (int64_t{1} << 24), "{}: {} must be between 1 and 2^24, got {}", name, what, v);
  RECKON_CHECK(c_s % heads_single == 0, "{}: {} heads do not divide the {} channels of the single track", name,
               heads_single, c_s);
  RECKON_CHECK(pair_dropout >= 0 && pair_dropout < 1, "{}: pair_dropout must be in [0, 1), got {}", name,
               pair_dropout);
  RECKON_CHECK(single_mask_value > 0, "{}: single_mask_value is subtracted and must be positive, got {}", name,
               single_mask_value);
}

PairStackConfig PairformerConfig::pair_stack() const {
  return {.c_z = c_z,
          .c_hidden = c_hidden_pair,
          .heads = heads_pair,
          .c_hidden_mul = c_hidden_mul,
          .transition_n = pair_transition_n,
          .dropout = pair_dropout,
          .fuse_projection_weights = fuse_projection_weights,
          .biases = false,
          .swiglu_transition = true};
}

int64_t PairformerConfig::n_parameters_per_block() const {
  const int64_t attention = 2 * c_s + 2 * c_z + c_z * heads_single + 5 * c_s * c_s + c_s;
  return pair_stack().n_parameters() + attention + 2 * c_s + 3 * single_transition_n * c_s * c_s;
}

int64_t PairformerConfig::n_parameters() const {
  using A = ResidueAlphabet;
  const int64_t residue_and_profile = A::kInputs + A::kTargets;
  const int64_t embedder = residue_and_profile * (c_s + 2 * c_z) + A::kRelativePositions * c_z;
  const int64_t head = 2 * c_s + A::kTargets * c_s;
  return n_parameters_of_blocks() + embedder + head;
}

std::vector<std::string> PairformerConfig::preset_names() { return {"alphafold3", "demo", "tiny"}; }

PairformerConfig PairformerConfig::preset(const std::string& name) {
  PairformerConfig c;
  c.name = name;
  if (name == "alphafold3") return c;
  c.c_hidden_pair = 8;
  if (name == "demo") {
    c.c_s = 64;
    c.c_z = 32;
    c.heads_single = 4;
    c.heads_pair = 4;
    c.c_hidden_mul = 32;
    c.blocks = 4;
    return c;
  }
  if (name == "tiny") {
    c.c_s = 16;
    c.c_z = 12;
    c.heads_single = 2;
    c.heads_pair = 2;
    c.c_hidden_mul = 12;
    c.pair_transition_n = 2;
    c.single_transition_n = 2;
    c.blocks = 2;
    return c;
  }
  raise_error(fmt::format("unknown Pairformer preset '{}': expected one of {}.{}", name,
                          fmt::join(preset_names(), ", "), did_you_mean(name, preset_names())));
}

}  // namespace reckon::models
