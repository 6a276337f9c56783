#include "models/block_names.h"

namespace reckon::models {
namespace {

constexpr NameRule kOpenFold[] = {
    {"_msa_att", ""},  // the column attention wraps the row attention's class
};

constexpr NameRule kProtenix[] = {
    {"tri_mul_out", "pair_stack.tri_mul_out", true},
    {"tri_mul_in", "pair_stack.tri_mul_in", true},
    {"tri_att_start", "pair_stack.tri_att_start", true},
    {"tri_att_end", "pair_stack.tri_att_end", true},
    {"pair_transition", "pair_stack.pair_transition", true},
    {"attention", "mha"},
    {"layernorm_a", "layer_norm_s"},
    {"layernorm_m", "layer_norm_m"},
    {"layernorm_z", "layer_norm_z"},
    {"layernorm1", "layer_norm"},
    {"linear_nobias_z", "linear_z"},
    {"linear_no_bias_a", "linear_a"},
    {"linear_no_bias_b", "linear_b"},
    {"linear_no_bias_mg", "linear_g"},
    {"linear_no_bias_mv", "linear_v"},
    {"linear_no_bias_z", "linear_z"},
    {"linear_no_bias_out", "linear_out"},
    {"linear_no_bias", "linear_out"},
};

constexpr NameRule kBoltz[] = {
    {"tri_mul_out", "pair_stack.tri_mul_out", true},
    {"tri_mul_in", "pair_stack.tri_mul_in", true},
    {"tri_att_start", "pair_stack.tri_att_start", true},
    {"tri_att_end", "pair_stack.tri_att_end", true},
    {"transition_z", "pair_stack.pair_transition", true},
    {"transition_s", "single_transition", true},
    {"pre_norm_s", "attention_pair_bias.layer_norm_s", true},
    {"attention", "attention_pair_bias", true},
    {"proj_z.0", "layer_norm_z"},
    {"proj_z.1", "linear_z"},
    {"proj_q", "mha.linear_q"},
    {"proj_k", "mha.linear_k"},
    {"proj_v", "mha.linear_v"},
    {"proj_g", "mha.linear_g"},
    {"attention_pair_bias.proj_o", "attention_pair_bias.mha.linear_o"},
    {"proj_a", "linear_1"},  // outer product mean
    {"proj_b", "linear_2"},
    {"proj_o", "linear_out"},
    {"p_in", "linear_ab_p"},  // triangle multiplication
    {"g_in", "linear_ab_g"},
    {"p_out", "linear_z"},
    {"g_out", "linear_g"},
    {"norm_in", "layer_norm_in"},
    {"norm_out", "layer_norm_out"},
    {"norm", "layer_norm"},  // transition, outer product mean
    {"fc1", "linear_a"},
    {"fc2", "linear_b"},
    {"fc3", "linear_out"},
};

}  // namespace

std::span<const NameRule> openfold_names() { return kOpenFold; }
std::span<const NameRule> protenix_names() { return kProtenix; }
std::span<const NameRule> boltz_names() { return kBoltz; }
std::span<const NameRule> bioformer_names() { return {}; }

std::string our_name(std::string_view theirs, std::span<const NameRule> rules) {
  std::string path = "." + std::string(theirs) + ".";
  for (const NameRule& r : rules) {
    const std::string wanted = "." + std::string(r.theirs) + ".";
    const size_t at = path.find(wanted);
    if (at == std::string::npos || (r.at_start && at != 0)) continue;
    path.replace(at, wanted.size(), r.ours.empty() ? "." : "." + std::string(r.ours) + ".");
  }
  return path.substr(1, path.size() - 2);
}

}  // namespace reckon::models
