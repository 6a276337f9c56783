#include "models/evoformer/config.h"

#include <utility>

#include "runtime/core/error.h"
#include "runtime/core/nearest_name.h"

namespace reckon::models {

void EvoformerConfig::validate() const {
  for (const auto& [what, v] : {std::pair{"c_m", c_m},
                                {"c_z", c_z},
                                {"c_hidden_msa", c_hidden_msa},
                                {"heads_msa", heads_msa},
                                {"c_hidden_pair", c_hidden_pair},
                                {"heads_pair", heads_pair},
                                {"c_hidden_mul", c_hidden_mul},
                                {"c_hidden_opm", c_hidden_opm},
                                {"transition_n", transition_n},
                                {"blocks", blocks}})
    RECKON_CHECK(v >= 1 && v <= (int64_t{1} << 24), "{}: {} must be between 1 and 2^24, got {}", name, what, v);
  for (const auto& [what, p] : {std::pair{"msa_dropout", msa_dropout}, {"pair_dropout", pair_dropout}})
    RECKON_CHECK(p >= 0 && p < 1, "{}: {} must be in [0, 1), got {}", name, what, p);
}

int64_t PairStackConfig::n_parameters() const {
  const int64_t h = c_hidden * heads, c = c_hidden_mul, n = transition_n, bias = biases ? 1 : 0;
  const int64_t tri_mul =
      2 * c_z + 4 * (c_z * c + bias * c) + 2 * c + (c * c_z + bias * c_z) + (c_z * c_z + bias * c_z);
  const int64_t tri_att = 2 * c_z + c_z * heads + 3 * c_z * h + (c_z * h + bias * h) + (h * c_z + bias * c_z);
  const int64_t transition = swiglu_transition ? 3 * n * c_z * c_z : 2 * n * c_z * c_z + n * c_z + c_z;
  return 2 * tri_mul + 2 * tri_att + 2 * c_z + transition;
}

PairStackConfig EvoformerConfig::pair_stack() const {
  return {.c_z = c_z,
          .c_hidden = c_hidden_pair,
          .heads = heads_pair,
          .c_hidden_mul = c_hidden_mul,
          .transition_n = transition_n,
          .dropout = pair_dropout,
          .mask_transition = mask_transitions,
          .fuse_projection_weights = fuse_projection_weights,
          .mask_value = mask_value};
}

int64_t EvoformerConfig::n_parameters_per_block() const {
  const int64_t hm = c_hidden_msa * heads_msa, o = c_hidden_opm, n = transition_n;
  const int64_t gated_msa = 2 * c_m + 3 * c_m * hm + c_m * hm + hm + hm * c_m + c_m;
  const int64_t row = gated_msa + 2 * c_z + c_z * heads_msa;
  const int64_t opm = 2 * c_m + 2 * (c_m * o + o) + o * o * c_z + c_z;
  const auto transition = [n](int64_t w) { return 2 * w + n * w * w + n * w + n * w * w + w; };
  return row + gated_msa + transition(c_m) + opm + pair_stack().n_parameters();
}

std::vector<std::string> EvoformerConfig::preset_names() { return {"alphafold2", "demo", "tiny"}; }

EvoformerConfig EvoformerConfig::preset(const std::string& name) {
  EvoformerConfig c;
  c.name = name;
  if (name == "alphafold2") return c;
  c.c_hidden_msa = 8;
  c.c_hidden_pair = 8;
  if (name == "demo") {
    c.c_m = 64;
    c.c_z = 32;
    c.heads_msa = 8;
    c.heads_pair = 4;
    c.c_hidden_mul = 32;
    c.c_hidden_opm = 16;
    c.blocks = 4;
    return c;
  }
  if (name == "tiny") {
    c.c_m = 16;
    c.c_z = 12;
    c.heads_msa = 2;
    c.heads_pair = 2;
    c.c_hidden_mul = 12;
    c.c_hidden_opm = 4;
    c.transition_n = 2;
    c.blocks = 2;
    return c;
  }
  raise_error(fmt::format("unknown Evoformer preset '{}': expected one of {}.{}", name,
                          fmt::join(preset_names(), ", "), did_you_mean(name, preset_names())));
}

}  // namespace reckon::models
