#include "models/af3/diffusion.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "autograd/grad_mode.h"
#include "autograd/node.h"
#include "models/af3/preconditioning.h"
#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/concat/concat.h"
#include "ops/fill/fill.h"
#include "ops/index_select/index_select.h"
#include "ops/view/view.h"
#include "runtime/events/scope.h"

namespace reckon::models::af3 {

DiffusionNetwork::DiffusionNetwork(Builder& b, const Config& c) : config_(c) {
  ModuleScope scope("diffusion");
  const int64_t cond = c.c_condition();
  {
    ModuleScope module("single_conditioner");
    single_norm_ = LayerNorm(b, "norm", cond);
    // Random frequencies and phases that stay as they are.
    fourier_ = Linear(b, "fourier", 1, c.fourier, true, Init::normal(1));
    ops::fill_random(fourier_.bias, ops::Distribution::uniform, 0.5, 0.5, 3, 1);
    autograd::set_requires_grad(fourier_.weight, false);
    autograd::set_requires_grad(fourier_.bias, false);
    fourier_norm_ = LayerNorm(b, "fourier_norm", c.fourier);
    from_fourier_ = plain_linear(b, "from_fourier", c.fourier, cond);
    for (int64_t i = 0; i < c.conditioner_transitions; ++i)
      single_transitions_.emplace_back(b, fmt::format("transition_{}", i), cond, c.diffusion_transition);
  }
  {
    ModuleScope module("pair_conditioner");
    from_pair_ = plain_linear(b, "from_pair", 2 * c.c_z, c.c_z);
    pair_norm_ = LayerNorm(b, "norm", c.c_z);
    for (int64_t i = 0; i < c.conditioner_transitions; ++i)
      pair_transitions_.emplace_back(b, fmt::format("transition_{}", i), c.c_z, c.diffusion_transition);
  }
  positions_ = plain_linear(b, "positions", 3, c.c_atom);
  missing_ = b.parameter("missing_atom", {c.c_atom}, Init::constant(0));
  atom_condition_norm_ = LayerNorm(b, "atom_condition_norm", cond);
  atom_condition_ = plain_linear(b, "atom_condition", cond, c.c_atom);
  atompair_condition_norm_ = LayerNorm(b, "atompair_condition_norm", c.c_z);
  atompair_condition_ = plain_linear(b, "atompair_condition", c.c_z, c.c_atompair);
  pair_terms_ = AtomPairTerms(b, c);
  encoder_ = atom_stack(b, "atom_encoder", c);
  pool_ = plain_linear(b, "pool", c.c_atom, c.c_token);
  token_condition_norm_ = LayerNorm(b, "token_condition_norm", cond);
  token_condition_ = plain_linear(b, "token_condition", cond, c.c_token);
  tokens_ = token_stack(b, "token_transformer", c);
  token_norm_ = LayerNorm(b, "token_norm", c.c_token);
  to_atoms_ = plain_linear(b, "to_atoms", c.c_token, c.c_atom);
  decoder_ = atom_stack(b, "atom_decoder", c);
  position_norm_ = LayerNorm(b, "position_norm", c.c_atom);
  to_positions_ = plain_linear(b, "to_positions", c.c_atom, 3);
}

Tensor DiffusionNetwork::single_condition(const Tensor& time, const TrunkOutput& trunk) const {
  ModuleScope scope("diffusion");
  ModuleScope module("single_conditioner");
  const Tensor phase = ops::cast(fourier_(time), DType::f32);
  const Tensor waves = ops::cos(ops::scale(phase, 2 * std::numbers::pi));
  Tensor s = single_norm_(
      ops::concat({ops::cast(trunk.single, DType::f32), ops::cast(trunk.single_inputs, DType::f32)}, 2));
  s = ops::add(s, ops::unsqueeze(project(fourier_norm_, waves, {&from_fourier_})[0], 1));
  for (const Transition& t : single_transitions_) s = ops::add(s, t(s));
  return s;
}

Tensor DiffusionNetwork::pair_condition(const TrunkOutput& trunk) const {
  ModuleScope scope("diffusion");
  ModuleScope module("pair_conditioner");
  const Tensor both =
      ops::concat({ops::cast(trunk.pair, DType::f32), ops::cast(trunk.relative, DType::f32)}, 3);
  Tensor z = pair_norm_(from_pair_(both));
  for (const Transition& t : pair_transitions_) z = ops::add(z, t(z));
  return z;
}

Tensor DiffusionNetwork::update(const Tensor& scaled, const Tensor& time, const DiffusionInputs& in) const {
  const TrunkOutput& trunk = *in.trunk;
  const Example& e = *in.example;
  const int64_t N = trunk.single.size(1), A = scaled.size(1), per_token = A / N, c = config_.c_atompair;
  const Tensor single = single_condition(time, trunk);
  const Tensor pair = in.pair_condition.defined() ? in.pair_condition : pair_condition(trunk);
  ModuleScope scope("diffusion");
  // The atom track: where the atoms are, and what they are.
  Tensor atoms = positions_(scaled);
  atoms = ops::add(ops::mul(atoms, ops::affine(e.missing, -1, 1)), ops::mul(e.missing, missing_));
  atoms = ops::add(atoms, trunk.atoms);
  const Tensor from_single = project(atom_condition_norm_, single, {&atom_condition_})[0];
  const Tensor atom_condition = ops::add(spread_to_atoms(from_single, per_token), trunk.atoms);
  Tensor atom_pairs;
  {
    const Tensor rows =
        ops::reshape(project(atompair_condition_norm_, pair, {&atompair_condition_})[0], {N * N, c});
    const Tensor picked = ops::index_select(rows, 0, e.window_pairs);
    atom_pairs = ops::add(ops::unsqueeze(picked, 0), trunk.atom_pairs);
  }
  atom_pairs = pair_terms_.network(pair_terms_.add_terms(atom_pairs, atoms, e.windows));
  atoms = run_stack("atom_encoder", encoder_, atoms, atom_condition, atom_pairs, &e.windows, true);
  Tensor tokens = mean_over_atoms(ops::relu(pool_(atoms)), N);
  tokens = ops::add(project(token_condition_norm_, single, {&token_condition_})[0], tokens);
  tokens = run_stack("token_transformer", tokens_, tokens, single, pair, nullptr, true);
  const Tensor back = project(token_norm_, tokens, {&to_atoms_})[0];
  atoms = ops::add(spread_to_atoms(back, per_token), atoms);
  atoms = run_stack("atom_decoder", decoder_, atoms, atom_condition, atom_pairs, &e.windows, true);
  return project(position_norm_, atoms, {&to_positions_})[0];
}

Tensor DiffusionNetwork::denoise(const Tensor& noised, const Tensor& noise, const DiffusionInputs& in) const {
  const auto column = [&](int64_t i) { return ops::slice(noise, 2, i, i + 1); };
  const int64_t D = noised.size(0);
  const Tensor change = update(ops::mul(noised, column(0)), ops::reshape(column(3), {D, 1}), in);
  ModuleScope scope("diffusion");
  return ops::add(ops::mul(noised, column(1)), ops::mul(change, column(2)));
}

namespace {

// Noise levels in units of the data's deviation and their spacing: Karras et al., table 1. How much noise is
// added back, and between which levels: the settings of public code for this sampler. The step scale is
// AlphaFold 3's (algorithm 18).
constexpr double kLargestNoise = 80, kSmallestNoise = 0.002, kRho = 7;
constexpr double kChurn = 80, kChurnFrom = 0.05, kChurnTo = 50, kChurnNoise = 1.003;
constexpr double kStepScale = 1.5;

// From the largest to the smallest, then 0.
std::vector<double> noise_levels(int64_t steps, double sigma_data) {
  const double first = std::pow(kLargestNoise, 1 / kRho), last = std::pow(kSmallestNoise, 1 / kRho);
  std::vector<double> sigmas;
  for (int64_t i = 0; i < steps; ++i) {
    const double t = steps > 1 ? static_cast<double>(i) / static_cast<double>(steps - 1) : 0;
    sigmas.push_back(sigma_data * std::pow(first + t * (last - first), kRho));
  }
  sigmas.push_back(0);
  return sigmas;
}

}  // namespace

Tensor DiffusionNetwork::sample(const Tensor& stream, const DiffusionInputs& in) const {
  const autograd::NoGrad no_grad;
  const int64_t steps = config_.rollout_steps;
  const std::vector<double> sigmas = noise_levels(steps, config_.sigma_data);
  const auto draw = [&](int64_t i) { return ops::slice(stream, 0, i, i + 1); };
  const auto network = [&](const Tensor& x, double sigma) {
    const Preconditioning p(sigma, config_.sigma_data);
    const Tensor time = ops::full(stream.device(), {1, 1}, DType::f32, p.noise, Category::transient, "time");
    const Tensor change = update(ops::scale(x, p.in), time, in);
    return ops::add(ops::scale(x, p.skip), ops::scale(change, p.out));
  };
  Tensor x = ops::scale(draw(0), sigmas[0]);
  for (int64_t i = 0; i < steps; ++i) {
    const double now = sigmas[static_cast<size_t>(i)], next = sigmas[static_cast<size_t>(i) + 1];
    const double gamma = now >= kChurnFrom && now <= kChurnTo
                             ? std::min(kChurn / static_cast<double>(steps), std::numbers::sqrt2 - 1)
                             : 0;
    const double hat = now * (1 + gamma);
    const Tensor x_hat = ops::add(x, ops::scale(draw(i + 1), kChurnNoise * std::sqrt(hat * hat - now * now)));
    const Tensor slope = ops::scale(ops::sub(x_hat, network(x_hat, hat)), 1 / hat);
    x = ops::add(x_hat, ops::scale(slope, (next - hat) * kStepScale));
    if (next == 0) break;
    const Tensor second = ops::scale(ops::sub(x, network(x, next)), 1 / next);
    x = ops::add(x_hat, ops::scale(ops::add(slope, second), 0.5 * (next - hat) * kStepScale));
  }
  return x;
}

}  // namespace reckon::models::af3
