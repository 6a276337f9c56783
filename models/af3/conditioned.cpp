#include "models/af3/conditioned.h"

#include <cmath>

#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/concat/concat.h"
#include "ops/mean_var/mean_var.h"
#include "ops/sum/sum.h"
#include "ops/view/view.h"
#include "runtime/events/scope.h"

namespace reckon::models::af3 {

Tensor Windows::split(const Tensor& x) const {
  const int64_t padded = count() * size;
  const Tensor whole = x.size(1) == padded ? x : ops::pad_with_zeros(x, 1, 0, padded);
  return ops::reshape(whole, {x.size(0), count(), size, x.size(2)});
}

Tensor Windows::with_previous(const Tensor& x) const {
  const Tensor shifted = ops::pad_with_zeros(x, 1, size, (count() + 1) * size);
  const Tensor r = ops::reshape(shifted, {x.size(0), count() + 1, size, x.size(2)});
  return ops::concat({ops::slice(r, 1, 0, count()), ops::slice(r, 1, 1, count() + 1)}, 2);
}

Tensor Windows::join(const Tensor& x, int64_t atoms) const {
  const Tensor flat = ops::reshape(x, {x.size(0), count() * size, x.size(3)});
  return flat.size(1) == atoms ? flat : ops::slice(flat, 1, 0, atoms);
}

AdaptiveNorm::AdaptiveNorm(Builder& b, std::string_view n, int64_t c, int64_t c_condition) : name(intern(n)) {
  ModuleScope scope(name);
  condition_norm = LayerNorm(b, "condition_norm", c_condition, LayerNorm::Affine::weight);
  norm = LayerNorm(b, "norm", c, LayerNorm::Affine::nothing);
  to_gamma = Linear(b, "to_gamma", c_condition, c, true, Init::lecun(c_condition));
  to_beta = plain_linear(b, "to_beta", c_condition, c);
}

Tensor AdaptiveNorm::operator()(const Tensor& x, const Tensor& condition) const {
  ModuleScope scope(name);
  Tensor gamma, beta;
  {
    TensorList p = project(condition_norm, condition, {&to_gamma, &to_beta});
    gamma = std::move(p[0]);
    beta = std::move(p[1]);
  }
  gamma = ops::sigmoid(gamma);
  const Tensor normed = norm(x);
  return ops::add(ops::mul(normed, gamma), beta);
}

ConditionedLayer::ConditionedLayer(Builder& b, std::string_view n, int64_t c, int64_t c_condition,
                                   int64_t c_pair, int64_t heads, int64_t width, int64_t factor)
    : attention_name(intern("attention")), transition_name(intern("conditioned_transition")) {
  const BlockBuilding building(block, n, b);
  {
    ModuleScope half(attention_name);
    attention_norm = AdaptiveNorm(b, "adaptive_norm", c, c_condition);
    pair_bias = PairBias(b, "pair_bias", c_pair, heads);
    attention = Attention(b, "core", c, heads, width);
    attention_gate = Linear(b, "gate", c_condition, c, true, Init::constant(0), -2.0);
  }
  ModuleScope half(transition_name);
  transition_norm = AdaptiveNorm(b, "adaptive_norm", c, c_condition);
  transition = Transition(b, "transition", c, factor, /*normalised=*/false);
  transition_gate = Linear(b, "gate", c_condition, c, true, Init::constant(0), -2.0);
}

Tensor ConditionedLayer::operator()(const Tensor& x0, const Tensor& condition, const Tensor& pair,
                                    const Windows* windows) const {
  const BlockRun run(block);
  const std::optional<Windows> local = windows ? std::optional<Windows>(*windows) : std::nullopt;
  const auto attend = [this, local](auto in) {
    ModuleScope half(attention_name);
    const int64_t atoms = in[0].size(1);
    const Tensor n = attention_norm(in[0], in[1]);
    const Tensor bias = pair_bias(in[2]);
    TensorList p{attention.to_q(n), attention.to_kv(n), attention.to_gates(n)};
    Tensor o;
    if (local) {
      p[0] = local->split(p[0]);
      p[1] = local->with_previous(p[1]);
      p[2] = local->split(p[2]);
      o = local->join(attention(std::move(p), bias, local->hidden, local->visible, AttentionAxis::rows, {}),
                      atoms);
    } else {
      for (Tensor& t : p) t = ops::unsqueeze(t, 1);
      o = ops::reshape(attention(std::move(p), bias, {}, {}, AttentionAxis::rows, {}), in[0].shape());
    }
    return ops::mul(o, ops::sigmoid(attention_gate(in[1])));
  };
  const auto transit = [this](auto in) {
    ModuleScope half(transition_name);
    const Tensor o = transition(transition_norm(in[0], in[1]));
    return ops::mul(o, ops::sigmoid(transition_gate(in[1])));
  };
  const Tensor x = ops::add(x0, branch({x0, condition, pair}, attend));
  return ops::add(x, branch({x, condition}, transit));
}

ConditionedStack atom_stack(Builder& b, std::string_view name, const Config& c) {
  ModuleScope scope(name);
  ConditionedStack layers;
  for (int64_t i = 0; i < c.atom_layers; ++i)
    layers.push_back(std::make_unique<ConditionedLayer>(b, std::to_string(i), c.c_atom, c.c_atom, c.c_atompair,
                                                        c.atom_heads, c.atom_width, c.diffusion_transition));
  return layers;
}

ConditionedStack token_stack(Builder& b, std::string_view name, const Config& c) {
  ModuleScope scope(name);
  ConditionedStack layers;
  for (int64_t i = 0; i < c.token_layers; ++i)
    layers.push_back(std::make_unique<ConditionedLayer>(b, std::to_string(i), c.c_token, c.c_condition(), c.c_z,
                                                        c.token_heads, c.token_width, c.diffusion_transition));
  return layers;
}

Tensor run_stack(std::string_view name, const ConditionedStack& layers, Tensor x, const Tensor& condition,
                 const Tensor& pair, const Windows* windows, bool segments) {
  ModuleScope scope(name);
  const std::optional<Windows> local = windows ? std::optional<Windows>(*windows) : std::nullopt;
  const auto keep_all = autograd::CheckpointPolicy::none;
  const auto policy = autograd::grad_state().policy;
  const autograd::CheckpointScope whole(segments || policy == autograd::CheckpointPolicy::selective ? policy
                                                                                                    : keep_all);
  TensorList state{x, condition, pair};
  x = {};
  return run_blocks(layers, std::move(state), [local](const ConditionedLayer& l, auto v) {
    return TensorList{l(v[0], v[1], v[2], local ? &*local : nullptr)};
  })[0];
}

AtomPairTerms::AtomPairTerms(Builder& b, const Config& c) {
  {
    ModuleScope scope("atom_to_pair");
    norm = LayerNorm(b, "norm", c.c_atom);
    to_row_column = plain_linear(b, "to_row_column", c.c_atom, 2 * c.c_atompair);
  }
  ModuleScope scope("atompair_network");
  first = Linear(b, "0", c.c_atompair, c.c_atompair, false, Init::he(c.c_atompair));
  second = Linear(b, "1", c.c_atompair, c.c_atompair, false, Init::he(c.c_atompair));
  third = plain_linear(b, "2", c.c_atompair, c.c_atompair);
}

Tensor AtomPairTerms::add_terms(const Tensor& pair, const Tensor& atoms, const Windows& windows) const {
  ModuleScope scope("atom_to_pair");
  const Tensor terms = ops::relu(project(norm, atoms, {&to_row_column})[0]);
  const int64_t c = terms.size(2) / 2;
  const Tensor rows = ops::unsqueeze(windows.split(ops::slice(terms, 2, 0, c)), 3);
  const Tensor columns = ops::unsqueeze(windows.with_previous(ops::slice(terms, 2, c, 2 * c)), 2);
  return ops::add(ops::add(pair, rows), columns);
}

Tensor AtomPairTerms::network(const Tensor& pair) const {
  ModuleScope scope("atompair_network");
  return ops::add(third(ops::relu(second(ops::relu(first(pair))))), pair);
}

Tensor mean_over_atoms(const Tensor& x, int64_t tokens) {
  return ops::mean(ops::reshape(x, {x.size(0), tokens, x.size(1) / tokens, x.size(2)}), {2});
}

Tensor spread_to_atoms(const Tensor& x, int64_t n) {
  const Shape four{x.size(0), x.size(1), n, x.size(2)};
  return ops::reshape(ops::expand(ops::unsqueeze(x, 2), four), {x.size(0), x.size(1) * n, x.size(2)});
}

}  // namespace reckon::models::af3
