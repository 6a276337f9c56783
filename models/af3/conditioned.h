// Layers of the diffusion network and of the input embedder's atom encoder: attention with pair
// bias and transition, each behind an adaptive norm and a gate that a condition drives; over all
// tokens, or in windows of atoms.
// Shape letters: D copies of the structure, N tokens, A atoms, W windows, C channels.
#pragma once

#include "models/af3/blocks.h"

namespace reckon::models::af3 {

// Atoms in windows of `size`; keys of a window are the window before (zeros before the first) and itself.
struct Windows {
  int64_t size = 0;
  Tensor hidden, visible;  // f32 [1, W, 2 * size]: keys that are padding, and that are not

  int64_t count() const { return hidden.size(1); }
  Tensor split(const Tensor& x_DAC) const;          // [D, W, size, C]
  Tensor with_previous(const Tensor& x_DAC) const;  // [D, W, 2 * size, C]
  Tensor join(const Tensor& x_DWsC, int64_t atoms) const;
};

// LN(x) without weights, scaled by sigmoid(linear(n)) and shifted by linear(n), n
// = the scaled norm of the condition.
struct AdaptiveNorm {
  NameId name{};
  LayerNorm condition_norm, norm;
  Linear to_gamma, to_beta;

  AdaptiveNorm() = default;
  AdaptiveNorm(Builder& b, std::string_view name, int64_t c, int64_t c_condition);
  Tensor operator()(const Tensor& x, const Tensor& condition) const;
};

struct ConditionedLayer {
  Block block;
  NameId attention_name{}, transition_name{};
  AdaptiveNorm attention_norm, transition_norm;
  PairBias pair_bias;
  Attention attention;
  Transition transition;
  Linear attention_gate, transition_gate;

  ConditionedLayer(Builder& b, std::string_view name, int64_t c, int64_t c_condition, int64_t c_pair,
                   int64_t heads, int64_t width, int64_t factor);
  // `windows` null: every token sees every token.
  Tensor operator()(const Tensor& x, const Tensor& condition, const Tensor& pair, const Windows* windows) const;
};

using ConditionedStack = std::vector<std::unique_ptr<ConditionedLayer>>;

ConditionedStack atom_stack(Builder& b, std::string_view name, const Config& c);
ConditionedStack token_stack(Builder& b, std::string_view name, const Config& c);

// `segments`: whether the layers may be checkpointed (each a `block`, its two halves `sublayer`).
Tensor run_stack(std::string_view name, const ConditionedStack& layers, Tensor x, const Tensor& condition,
                 const Tensor& pair, const Windows* windows, bool segments);

// Adds row and column terms made from atoms to an atom pair tensor; and a
// three-layer network with a residual sum.
struct AtomPairTerms {
  LayerNorm norm;
  Linear to_row_column, first, second, third;

  AtomPairTerms() = default;
  AtomPairTerms(Builder& b, const Config& c);
  Tensor add_terms(const Tensor& pair_DWsk, const Tensor& atoms_DAC, const Windows& windows) const;
  Tensor network(const Tensor& pair) const;
};

// Atoms belong to tokens in equal numbers: mean over a token's atoms, and a token's value for each of them.
Tensor mean_over_atoms(const Tensor& x_DAC, int64_t tokens);
Tensor spread_to_atoms(const Tensor& x_DNC, int64_t atoms_per_token);

}  // namespace reckon::models::af3
