#include "models/af3/trunk.h"

#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/concat/concat.h"
#include "ops/embedding/embedding.h"
#include "ops/index_select/index_select.h"
#include "ops/matmul/matmul.h"
#include "ops/mean_var/mean_var.h"
#include "ops/sum/sum.h"
#include "ops/view/view.h"
#include "runtime/events/scope.h"

namespace reckon::models::af3 {

namespace {

// Left and right halves of the last axis summed over all pairs of tokens.
Tensor outer_sum(const Tensor& both_1NC) {
  const int64_t c = both_1NC.size(2) / 2;
  return ops::add(ops::unsqueeze(ops::slice(both_1NC, 2, 0, c), 2),
                  ops::unsqueeze(ops::slice(both_1NC, 2, c, 2 * c), 1));
}

// Concatenation in f32 of parts that autocast may have given different types.
Tensor concat_f32(std::initializer_list<Tensor> parts, int axis) {
  std::vector<Tensor> same;
  for (const Tensor& t : parts) same.push_back(ops::cast(t, DType::f32));
  return ops::concat(same, axis);
}

}  // namespace

InputEmbedder::InputEmbedder(Builder& b, const Config& c) {
  ModuleScope scope("input_embedder");
  atom_types_ = b.parameter("atom_types", {c.atom_types, c.c_atom}, Init::normal(0.5));
  atompair_types_ = b.parameter("atompair_types", {c.atompair_types, c.c_atompair}, Init::normal(0.5));
  modifications_ = b.parameter("modifications", {c.modifications, c.c_s}, Init::normal(0.5));
  single_molecules_ = b.parameter("single_molecules", {c.molecule_types, c.c_s}, Init::normal(0.5));
  pair_molecules_ = b.parameter("pair_molecules", {c.molecule_types, c.c_z}, Init::normal(0.5));
  atom_features_ = plain_linear(b, "atom_features", c.atom_features, c.c_atom);
  atompair_features_ = plain_linear(b, "atompair_features", c.atompair_features, c.c_atompair);
  pair_terms_ = AtomPairTerms(b, c);
  atom_stack_ = af3::atom_stack(b, "atom_encoder", c);
  pool_ = plain_linear(b, "pool", c.c_atom, c.c_s);
  to_single_ = plain_linear(b, "to_single", c.c_single_inputs(), c.c_s);
  to_pair_ = plain_linear(b, "to_pair", c.c_single_inputs(), 2 * c.c_z);
}

InputEmbedder::Output InputEmbedder::operator()(const Example& e) const {
  ModuleScope scope("input_embedder");
  Output o;
  const Tensor atoms = ops::add(atom_features_(e.atom_features), ops::embedding(e.atom_types, atom_types_));
  Tensor pairs =
      ops::add(atompair_features_(e.atompair_features), ops::embedding(e.atompair_types, atompair_types_));
  pairs = pair_terms_.add_terms(pairs, atoms, e.windows);
  // Not a checkpointed stack: it runs once a step.
  o.atoms = run_stack("atom_encoder", atom_stack_, atoms, atoms, pairs, &e.windows, /*segments=*/false);
  o.atom_pairs = pair_terms_.network(pairs);
  const Tensor pooled = mean_over_atoms(ops::relu(pool_(o.atoms)), e.molecules.size(1));
  o.single_inputs = concat_f32({pooled, e.token_features}, 2);
  const Tensor changes = ops::matmul(e.modified, modifications_);
  o.single =
      ops::add(ops::add(to_single_(o.single_inputs), ops::embedding(e.molecules, single_molecules_)), changes);
  const Tensor types = ops::embedding(e.molecules, pair_molecules_);
  o.pair = ops::add(outer_sum(to_pair_(o.single_inputs)),
                    ops::add(ops::unsqueeze(types, 2), ops::unsqueeze(types, 1)));
  return o;
}

TemplateEmbedder::TemplateEmbedder(Builder& b, const Config& c) {
  ModuleScope scope("template_embedder");
  features_ = plain_linear(b, "features", c.template_features, c.c_template);
  pair_norm_ = LayerNorm(b, "pair_norm", c.c_z);
  from_pair_ = plain_linear(b, "from_pair", c.c_z, c.c_template);
  for (int64_t i = 0; i < c.template_blocks; ++i)
    blocks_.push_back(std::make_unique<PairBlock>(b, std::to_string(i), c, c.c_template));
  final_norm_ = LayerNorm(b, "final_norm", c.c_template);
  to_out_ = plain_linear(b, "to_out", c.c_template, c.c_z);
  scale_ = b.parameter("scale", {c.c_z}, Init::constant(1));
}

Tensor TemplateEmbedder::operator()(const Tensor& templates, const Tensor& z, const DropoutSource& drop) const {
  ModuleScope scope("template_embedder");
  Tensor v = ops::add(features_(templates), project(pair_norm_, z, {&from_pair_})[0]);
  TensorList state{v};
  v = {};
  state = run_blocks(blocks_, std::move(state),
                     [drop](const PairBlock& block, auto in) { return TensorList{block(in[0], drop)}; });
  v = final_norm_(state[0]);
  state.clear();
  return ops::mul(to_out_(ops::relu(ops::mean(v, {0}, /*keep_axes=*/true))), scale_);
}

MsaModule::MsaModule(Builder& b, const Config& c) {
  ModuleScope scope("msa_module");
  features_ = plain_linear(b, "features", c.msa_symbols + c.msa_extra, c.c_msa);
  from_single_ = plain_linear(b, "from_single", c.c_single_inputs(), c.c_msa);
  for (int64_t i = 0; i < c.msa_blocks; ++i)
    layers_.push_back(std::make_unique<MsaLayer>(b, std::to_string(i), c));
  scale_ = b.parameter("scale", {c.c_z}, Init::constant(1));
}

Tensor MsaModule::operator()(const Tensor& features, const Tensor& single_inputs, const Tensor& z0,
                             const DropoutSource& drop) const {
  ModuleScope scope("msa_module");
  // The residual track is f32, as everywhere in the trunk.
  Tensor m =
      ops::cast(ops::add(features_(features), ops::unsqueeze(from_single_(single_inputs), 1)), DType::f32);
  TensorList mz{m, z0};
  m = {};
  mz = run_blocks(layers_, std::move(mz), [drop](const MsaLayer& l, auto v) { return l(v[0], v[1], drop); });
  return ops::mul(mz[1], scale_);
}

Trunk::Trunk(Builder& b, const Config& c) : config_(c) {
  embedder_ = std::make_unique<InputEmbedder>(b, c);
  {
    ModuleScope scope("pair_inputs");
    relative_ = plain_linear(b, "relative_positions", c.relative_features(), c.c_z);
    bonds_ = plain_linear(b, "bonds", 1, c.c_z);
    const int64_t widths[3] = {1, 1, 4};
    const char* names[3] = {"pocket", "contact", "docking"};
    for (int i = 0; i < 3; ++i) {
      constraint_[i] = plain_linear(b, names[i], widths[i], c.c_z);
      unknown_[i] = b.parameter(fmt::format("{}_unknown", names[i]), {1}, Init::constant(0));
    }
  }
  templates_ = std::make_unique<TemplateEmbedder>(b, c);
  msa_ = std::make_unique<MsaModule>(b, c);
  {
    ModuleScope scope("pairformer");
    for (int64_t i = 0; i < c.pairformer_blocks; ++i)
      layers_.push_back(std::make_unique<PairformerLayer>(b, std::to_string(i), c));
  }
  ModuleScope scope("recycling");
  recycle_single_norm_ = LayerNorm(b, "single_norm", c.c_s);
  recycle_single_ = zero_linear(b, "single", c.c_s, c.c_s);
  recycle_pair_norm_ = LayerNorm(b, "pair_norm", c.c_z);
  recycle_pair_ = zero_linear(b, "pair", c.c_z, c.c_z);
}

Tensor Trunk::relative_positions(const Example& e) const {
  const int64_t positions = 2 * config_.position_reach + 2, chains = 2 * config_.chain_reach + 2;
  return relative_(ops::concat({ops::one_hot(e.offset_residue, positions, DType::f32),
                                ops::one_hot(e.offset_token, positions, DType::f32), e.same_entity,
                                ops::one_hot(e.offset_chain, chains, DType::f32)},
                               3));
}

// A constraint that is not given is a learned number in its place.
Tensor Trunk::constraints(const Example& e) const {
  Tensor sum;
  int64_t first = 0;
  for (int i = 0; i < 3; ++i) {
    const int64_t width = constraint_[i].weight.size(1);
    const Tensor unknown = ops::slice(e.constraint_unknown, 3, i, i + 1);
    const Tensor given =
        ops::add(ops::slice(e.constraints, 3, first, first + width), ops::mul(unknown, unknown_[i]));
    const Tensor term = constraint_[i](given);
    sum = sum.defined() ? ops::add(sum, term) : term;
    first += width;
  }
  return sum;
}

TrunkOutput Trunk::operator()(const Example& e, int64_t recycles, const DropoutSource& drop) const {
  InputEmbedder::Output in = (*embedder_)(e);
  TrunkOutput out;
  out.atoms = std::move(in.atoms);
  out.atom_pairs = std::move(in.atom_pairs);
  out.single_inputs = in.single_inputs;
  Tensor pair_start = std::move(in.pair);
  {
    ModuleScope scope("pair_inputs");
    out.relative = relative_positions(e);
    pair_start = ops::add(ops::add(pair_start, out.relative), bonds_(e.bonds));
    pair_start = ops::add(pair_start, constraints(e));
  }
  Tensor msa_features;
  {
    ModuleScope scope("msa_module");
    msa_features = ops::concat({ops::one_hot(e.msa, config_.msa_symbols, DType::f32), e.msa_extra}, 3);
  }
  Tensor s, z;
  for (int64_t pass = 0; pass < recycles; ++pass) {
    if (pass == 0) {
      s = in.single;
      z = pair_start;
    } else {
      ModuleScope scope("recycling");
      const Tensor s_before = s.detached(), z_before = z.detached();
      s = {};
      z = {};
      s = ops::add(in.single, project(recycle_single_norm_, s_before, {&recycle_single_})[0]);
      z = ops::add(pair_start, project(recycle_pair_norm_, z_before, {&recycle_pair_})[0]);
    }
    if (e.templates.defined()) z = ops::add((*templates_)(e.templates, z, drop), z);
    z = ops::add((*msa_)(msa_features, in.single_inputs, z, drop), z);
    ModuleScope scope("pairformer");
    TensorList last = run_pairformer(layers_, std::move(s), std::move(z), drop);
    s = std::move(last[0]);
    z = std::move(last[1]);
  }
  out.single = std::move(s);
  out.pair = std::move(z);
  return out;
}

}  // namespace reckon::models::af3
