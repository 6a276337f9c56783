// Everything before the heads: input embedder, relative positions, bonds, constraints, templates, MSA module,
// Pairformer stack and recycling. Runs under the trunk's precision. Shape letters as in blocks.h and example.h.
#pragma once

#include "models/af3/example.h"

namespace reckon::models::af3 {

// What the trunk hands on. The residual tracks are f32 whatever the precision of the products.
struct TrunkOutput {
  Tensor atoms;          // [1, A, c_atom]
  Tensor atom_pairs;     // [1, W, w, 2w, c_atompair]
  Tensor relative;       // [1, N, N, c_z] encoding of relative positions
  Tensor single_inputs;  // [1, N, c_s + extra]
  Tensor single, pair;   // [1, N, c_s], [1, N, N, c_z]
};

class InputEmbedder {
 public:
  InputEmbedder(Builder& b, const Config& c);

  struct Output {
    Tensor atoms, atom_pairs, single_inputs, single, pair;
  };
  Output operator()(const Example& e) const;

 private:
  Tensor atom_types_, atompair_types_, modifications_, single_molecules_, pair_molecules_;
  Linear atom_features_, atompair_features_, pool_, to_single_, to_pair_;
  AtomPairTerms pair_terms_;
  ConditionedStack atom_stack_;
};

class TemplateEmbedder {
 public:
  TemplateEmbedder(Builder& b, const Config& c);
  Tensor operator()(const Tensor& templates_TNNF, const Tensor& z_1NNC, const DropoutSource& drop) const;

 private:
  Linear features_, from_pair_, to_out_;
  LayerNorm pair_norm_, final_norm_;
  std::vector<std::unique_ptr<PairBlock>> blocks_;
  Tensor scale_;
};

class MsaModule {
 public:
  MsaModule(Builder& b, const Config& c);
  Tensor operator()(const Tensor& features_1SNF, const Tensor& single_inputs, const Tensor& z_1NNC,
                    const DropoutSource& drop) const;

 private:
  Linear features_, from_single_;
  std::vector<std::unique_ptr<MsaLayer>> layers_;
  Tensor scale_;
};

class Trunk {
 public:
  Trunk(Builder& b, const Config& c);
  // `recycles` passes; what a pass hands to the next one is detached.
  TrunkOutput operator()(const Example& e, int64_t recycles, const DropoutSource& drop) const;

 private:
  Tensor relative_positions(const Example& e) const;
  Tensor constraints(const Example& e) const;

  Config config_;
  std::unique_ptr<InputEmbedder> embedder_;
  Linear relative_, bonds_;
  Linear constraint_[3];
  Tensor unknown_[3];
  std::unique_ptr<TemplateEmbedder> templates_;
  std::unique_ptr<MsaModule> msa_;
  std::vector<std::unique_ptr<PairformerLayer>> layers_;
  LayerNorm recycle_single_norm_, recycle_pair_norm_;
  Linear recycle_single_, recycle_pair_;
};

}  // namespace reckon::models::af3
