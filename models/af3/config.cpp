#include "models/af3/config.h"

#include "runtime/core/error.h"
#include "runtime/core/nearest_name.h"

namespace reckon::models::af3 {

void Config::validate() const {
  for (const auto& [what, v] : {std::pair{"c_s", c_s},
                                {"c_z", c_z},
                                {"c_token", c_token},
                                {"c_atom", c_atom},
                                {"c_atompair", c_atompair},
                                {"c_msa", c_msa},
                                {"c_template", c_template},
                                {"tri_heads", tri_heads},
                                {"single_heads", single_heads},
                                {"msa_heads", msa_heads},
                                {"token_heads", token_heads},
                                {"atom_heads", atom_heads},
                                {"pairformer_blocks", pairformer_blocks},
                                {"msa_blocks", msa_blocks},
                                {"template_blocks", template_blocks},
                                {"confidence_blocks", confidence_blocks},
                                {"token_layers", token_layers},
                                {"atom_layers", atom_layers},
                                {"window", window},
                                {"rollout_steps", rollout_steps}})
    RECKON_CHECK(v >= 1 && v <= (int64_t{1} << 20), "{}: {} must be between 1 and 2^20, got {}", name, what, v);
  RECKON_CHECK(pair_dropout >= 0 && pair_dropout < 1 && single_dropout >= 0 && single_dropout < 1 &&
                   msa_dropout >= 0 && msa_dropout < 1,
               "{}: dropout must be in [0, 1)", name);
}

std::vector<std::string> Config::preset_names() { return {"af3", "demo", "tiny"}; }

Config Config::preset(const std::string& name) {
  Config c;
  c.name = name;
  if (name == "af3") return c;
  if (name == "demo") {
    c.c_s = 64, c.c_z = 32, c.c_token = 96, c.c_atom = 32, c.c_atompair = 8, c.c_msa = 24, c.c_template = 24;
    c.tri_heads = 2, c.tri_width = 16, c.single_heads = 4, c.single_width = 16, c.msa_heads = 2,
    c.msa_width = 12;
    c.token_heads = 4, c.token_width = 24, c.atom_heads = 2, c.atom_width = 16;
    c.pairformer_blocks = 4, c.msa_blocks = 2, c.template_blocks = 1, c.confidence_blocks = 1,
    c.token_layers = 4, c.atom_layers = 1;
    c.c_outer = 8, c.window = 12, c.fourier = 32, c.rollout_steps = 4;
    return c;
  }
  if (name == "tiny") {
    c.c_s = 12, c.c_z = 8, c.c_token = 16, c.c_atom = 10, c.c_atompair = 4, c.c_msa = 6, c.c_template = 6;
    c.tri_heads = 2, c.tri_width = 5, c.single_heads = 2, c.single_width = 7, c.msa_heads = 2, c.msa_width = 3;
    c.token_heads = 2, c.token_width = 9, c.atom_heads = 2, c.atom_width = 6;
    c.pairformer_blocks = 2, c.msa_blocks = 2, c.template_blocks = 1, c.confidence_blocks = 1,
    c.token_layers = 2, c.atom_layers = 1;
    c.trunk_transition = 2, c.c_outer = 3, c.window = 5, c.template_features = 9, c.position_reach = 4,
    c.fourier = 8;
    c.distance_bins = 12, c.plddt_bins = 6, c.pde_bins = 7, c.pae_bins = 5, c.confidence_distance_bins = 4,
    c.rollout_steps = 2;
    return c;
  }
  raise_error(fmt::format("unknown AF3 preset '{}': expected one of {}.{}", name,
                          fmt::join(preset_names(), ", "), did_you_mean(name, preset_names())));
}

void StepOptions::resolve(const Config& c) {
  const auto open = [&](int64_t& v, int64_t full, int64_t demo, int64_t tiny) {
    if (v == 0) v = c.name == "af3" ? full : c.name == "demo" ? demo : tiny;
  };
  open(tokens, 384, 24, 7);
  open(atoms_per_token, 7, 4, 3);
  open(msa_rows, 500, 8, 4);
  if (templates < 0) templates = c.name == "af3" ? 4 : c.name == "demo" ? 2 : 1;
  open(recycles, 3, 2, 2);
  open(augmentations, 48, 6, 3);
  open(chunk, 4, 3, 2);
  const auto within = [](const char* what, int64_t v, int64_t low, int64_t high) {
    RECKON_CHECK(v >= low && v <= high, "{} must be between {} and {}, got {}", what, low, high, v);
  };
  within("--tokens", tokens, 3, 1 << 14);
  within("--atoms-per-token", atoms_per_token, 1, 64);
  within("--msa-rows", msa_rows, 1, 1 << 16);
  within("--templates", templates, 0, 64);
  within("--recycles", recycles, 1, 64);
  within("--augmentations", augmentations, 1, 4096);
  within("--chunk", chunk, 1, 4096);
  RECKON_CHECK(confidence || !rollout, "--rollout feeds the confidence head: leave out --no-confidence");
}

namespace {

int64_t linear(int64_t in, int64_t out, bool bias = false) { return in * out + (bias ? out : 0); }
int64_t norm(int64_t c) { return 2 * c; }

int64_t attention(int64_t c, int64_t inner) {
  return linear(c, inner, true) + linear(c, 2 * inner) + linear(c, inner, true) + linear(inner, c);
}
int64_t transition(int64_t c, int64_t n) { return linear(c, 2 * n * c) + linear(n * c, c); }

int64_t pair_block(const Config& k, int64_t c) {
  const int64_t multiply = norm(c) + linear(c, 4 * c) + linear(c, c) + norm(c) + linear(c, c);
  const int64_t attend = norm(c) + linear(c, k.tri_heads) + attention(c, k.tri_heads * k.tri_width);
  return 2 * multiply + 2 * attend + norm(c) + transition(c, k.trunk_transition);
}

int64_t pairformer_layer(const Config& k) {
  return pair_block(k, k.c_z) + norm(k.c_s) + norm(k.c_z) + linear(k.c_z, k.single_heads) +
         attention(k.c_s, k.single_heads * k.single_width) + norm(k.c_s) +
         transition(k.c_s, k.trunk_transition);
}

int64_t msa_layer(const Config& k) {
  const int64_t c = k.c_msa, inner = k.msa_heads * k.msa_width;
  const int64_t outer = norm(c) + linear(c, 2 * k.c_outer) + linear(k.c_outer * k.c_outer, k.c_z, true);
  const int64_t averaging =
      norm(c) + linear(c, 2 * inner) + norm(k.c_z) + linear(k.c_z, k.msa_heads) + linear(inner, c);
  return outer + averaging + norm(c) + transition(c, k.trunk_transition) + pair_block(k, k.c_z);
}

// Adaptive norm: a scale of the condition's norm, a biased gate and a shift; and the gate of the result.
int64_t conditioned_layer(const Config& k, int64_t c, int64_t c_cond, int64_t c_pair, int64_t heads,
                          int64_t width) {
  const int64_t adaptive = c_cond + linear(c_cond, c, true) + linear(c_cond, c), gate = linear(c_cond, c, true);
  return 2 * (adaptive + gate) + norm(c_pair) + linear(c_pair, heads) + attention(c, heads * width) +
         transition(c, k.diffusion_transition);
}
int64_t atom_layer(const Config& k) {
  return conditioned_layer(k, k.c_atom, k.c_atom, k.c_atompair, k.atom_heads, k.atom_width);
}
// Row and column terms of an atom pair, and its three-layer network.
int64_t atompair_terms(const Config& k) {
  return norm(k.c_atom) + linear(k.c_atom, 2 * k.c_atompair) + 3 * linear(k.c_atompair, k.c_atompair);
}

}  // namespace

std::vector<std::pair<std::string, int64_t>> Config::n_parameters_by_part() const {
  const Config& k = *this;
  const int64_t in = c_single_inputs(), cond = c_condition();
  const int64_t embedder = linear(atom_features, c_atom) + linear(atompair_features, c_atompair) +
                           atompair_terms(k) + atom_layers * atom_layer(k) + linear(c_atom, c_s) +
                           linear(in, c_s) + linear(in, 2 * c_z) + molecule_types * (c_s + c_z);
  const int64_t templates = linear(template_features, c_template) + norm(c_z) + linear(c_z, c_template) +
                            template_blocks * pair_block(k, c_template) + norm(c_template) +
                            linear(c_template, c_z) + c_z;
  const int64_t msa =
      linear(msa_symbols + msa_extra, c_msa) + linear(in, c_msa) + msa_blocks * msa_layer(k) + c_z;
  const int64_t single_conditioner =
      norm(cond) + linear(1, fourier, true) + norm(fourier) + linear(fourier, cond) +
      conditioner_transitions * (norm(cond) + transition(cond, diffusion_transition));
  const int64_t pair_conditioner =
      linear(2 * c_z, c_z) + norm(c_z) +
      conditioner_transitions * (norm(c_z) + transition(c_z, diffusion_transition));
  const int64_t around = linear(3, c_atom) + c_atom + norm(cond) + linear(cond, c_atom) + norm(c_z) +
                         linear(c_z, c_atompair) + atompair_terms(k) + linear(c_atom, c_token) + norm(cond) +
                         linear(cond, c_token) + norm(c_token) + linear(c_token, c_atom) + norm(c_atom) +
                         linear(c_atom, 3);
  const int64_t confidence = confidence_distance_bins * c_z + linear(in, 2 * c_z) +
                             confidence_blocks * pairformer_layer(k) + linear(c_z, pae_bins) +
                             linear(c_z, pde_bins) + linear(c_s, plddt_bins) + linear(c_s, 2) +
                             linear(c_s, c_s, true) + linear(c_s, 1) + linear(c_atom, c_s) + linear(in, c_s) +
                             linear(c_s, c_s) + norm(c_s) + linear(c_z, c_z) + norm(c_z);
  const int64_t other = atom_types * c_atom + atompair_types * c_atompair + modifications * c_s +
                        linear(relative_features(), c_z) + linear(1, c_z) +     // relative positions, bonds
                        linear(1, c_z) + linear(1, c_z) + linear(4, c_z) + 3 +  // pocket, contact, docking
                        norm(c_s) + linear(c_s, c_s) + norm(c_z) + linear(c_z, c_z) +  // recycling
                        linear(c_z, distance_bins);                                    // distogram
  return {
      {"pairformer", pairformer_blocks * pairformer_layer(k)},
      {"msa module", msa},
      {"template embedder", templates},
      {"token transformer", token_layers * conditioned_layer(k, c_token, cond, c_z, token_heads, token_width)},
      {"diffusion atom layers", 2 * atom_layers * atom_layer(k)},
      {"single conditioner", single_conditioner},
      {"pair conditioner", pair_conditioner},
      {"rest of the diffusion network", around},
      {"input embedder", embedder},
      {"confidence head", confidence},
      {"other embeddings, recycling, distogram", other}};
}

int64_t Config::n_parameters() const {
  int64_t n = 0;
  for (const auto& [part, count] : n_parameters_by_part()) n += count;
  return n;
}

}  // namespace reckon::models::af3
