#include "models/af3/heads.h"

#include <algorithm>

#include "autograd/checkpoint.h"
#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/concat/concat.h"
#include "ops/cross_entropy/cross_entropy.h"
#include "ops/fill/fill.h"
#include "ops/masked_fill/masked_fill.h"
#include "ops/matmul/matmul.h"
#include "ops/mean_var/mean_var.h"
#include "ops/mse_loss/mse_loss.h"
#include "ops/softmax/softmax.h"
#include "ops/sum/sum.h"
#include "ops/view/view.h"
#include "runtime/events/scope.h"

namespace reckon::models::af3 {

using autograd::Boundary;
using autograd::segment;

namespace {

constexpr double kLddtLimits[] = {0.5, 1, 2, 4};  // angstrom
constexpr double kRamp = 0.2;                     // angstrom, the width of a soft comparison
// Added to sums of squares under a root, so that gradients stay finite at 0: of distances, and of directions.
constexpr double kSquareFloor = 1e-6, kNormFloor = 1e-4;

Tensor symmetric(const Tensor& z) { return ops::add(z, ops::transpose(z, 1, 2)); }

// Distances [D, X, Y] of points [D, X, 3] and [D, Y, 3].
Tensor distances(const Tensor& x, const Tensor& y) {
  const Tensor apart = ops::sub(ops::unsqueeze(x, 2), ops::unsqueeze(y, 1));
  return ops::sqrt(ops::affine(ops::sum(ops::mul(apart, apart), {3}), 1, kSquareFloor));
}

// First atom of each token.
Tensor centres(const Tensor& atoms_1A3, int64_t tokens) {
  const int64_t per_token = atoms_1A3.size(1) / tokens;
  const Tensor first = ops::slice(ops::reshape(atoms_1A3, {1, tokens, per_token, 3}), 2, 0, 1);
  return ops::reshape(first, {1, tokens, 3});
}

// Shares of a value between the two nearest of `bins` equally spaced bin centres in [low, high]: the
// distribution whose mean is the value, so that nothing has to be rounded to an integer on the
// device. values [..] -> [.., bins].
Tensor soft_bins(const Tensor& values, double low, double high, int64_t bins) {
  const double step = (high - low) / static_cast<double>(bins - 1);
  // In units of a step, kept inside [0, bins - 1].
  const double last = static_cast<double>(bins - 1);
  Tensor at = ops::relu(ops::affine(values, 1 / step, -low / step));
  at = ops::affine(ops::relu(ops::affine(at, -1, last)), -1, last);
  std::vector<Tensor> shares;
  const Tensor column = ops::unsqueeze(at, -1);
  for (int64_t k = 0; k < bins; ++k)
    shares.push_back(ops::relu(ops::affine(ops::abs(ops::affine(column, 1, -static_cast<double>(k))), -1, 1)));
  return ops::concat(shares, -1);
}

// Mean cross entropy of logits against shares.
Tensor soft_cross_entropy(const Tensor& logits, const Tensor& shares) {
  const int64_t n_rows = logits.numel() / logits.size(-1);
  const auto rows = static_cast<double>(n_rows);
  return ops::scale(ops::sum_all(ops::mul(ops::log_softmax(logits), shares)), -1 / rows);
}

// 1 below `limit`, 0 above, with a ramp between.
Tensor below(const Tensor& x, double limit) {
  const Tensor ramp = ops::relu(ops::affine(x, -1 / kRamp, limit / kRamp + 0.5));
  return ops::affine(ops::relu(ops::affine(ramp, -1, 1)), -1, 1);
}

// lDDT of every atom against the token centres near it.
Tensor atom_lddt(const Tensor& structure, const Tensor& truth, const Example& e) {
  const int64_t N = e.molecules.size(1);
  const Tensor off =
      ops::abs(ops::sub(distances(structure, centres(structure, N)), distances(truth, centres(truth, N))));
  Tensor kept;
  for (double limit : kLddtLimits)
    kept = kept.defined() ? ops::add(kept, below(off, limit)) : below(off, limit);
  kept = ops::masked_fill(ops::scale(kept, 1.0 / static_cast<double>(std::size(kLddtLimits))), e.far_tokens, 0);
  return ops::mul(ops::sum(kept, {2}), e.near_share);
}

Tensor normalised(const Tensor& v) {
  return ops::div(v, ops::sqrt(ops::affine(ops::sum(ops::mul(v, v), {2}, true), 1, kNormFloor)));
}

Tensor cross_product(const Tensor& a, const Tensor& b) {
  const auto axis = [](const Tensor& t, int64_t i) { return ops::slice(t, 2, i, i + 1); };
  const auto part = [&](int64_t i, int64_t j) {
    return ops::sub(ops::mul(axis(a, i), axis(b, j)), ops::mul(axis(a, j), axis(b, i)));
  };
  return ops::concat({part(1, 2), part(2, 0), part(0, 1)}, 2);
}

// Token j seen from the frame of token i, which its neighbours along the chain span: [1, N, N, 3].
Tensor in_local_frames(const Tensor& x_1N3) {
  const int64_t N = x_1N3.size(1);
  const auto rows = [&](int64_t a, int64_t b) { return ops::slice(x_1N3, 1, a, b); };
  const Tensor after = ops::concat({rows(1, N), rows(N - 2, N - 1)}, 1),
               before = ops::concat({rows(1, 2), rows(0, N - 1)}, 1);
  const Tensor e1 = normalised(ops::sub(after, x_1N3));
  Tensor e2 = ops::sub(before, x_1N3);
  e2 = normalised(ops::sub(e2, ops::mul(ops::sum(ops::mul(e1, e2), {2}, true), e1)));
  const Tensor frame =
      ops::reshape(ops::concat({e1, e2, cross_product(e1, e2)}, 2), {1, N, 3, 3});    // rows are axes
  const Tensor apart = ops::sub(ops::unsqueeze(x_1N3, 1), ops::unsqueeze(x_1N3, 2));  // [1, i, j, 3]
  return ops::matmul(apart, ops::transpose(frame, 2, 3));
}

Tensor norm_of_last(const Tensor& v) {
  return ops::sqrt(ops::affine(ops::sum(ops::mul(v, v), {-1}), 1, kSquareFloor));
}

}  // namespace

DistogramHead::DistogramHead(Builder& b, const Config& c) {
  ModuleScope scope("distogram");
  to_bins_ = zero_linear(b, "to_bins", c.c_z, c.distance_bins);
}

Tensor DistogramHead::loss(const Tensor& z, const Example& e) const {
  ModuleScope scope("distogram");
  const Tensor logits = to_bins_(symmetric(z));
  const PhaseScope phase(Phase::loss);
  return ops::cross_entropy(ops::reshape(logits, {-1, logits.size(-1)}), e.distance_bin, ops::Reduction::mean);
}

ConfidenceHead::ConfidenceHead(Builder& b, const Config& c) : config_(c) {
  ModuleScope scope("confidence");
  single_norm_ = LayerNorm(b, "single_norm", c.c_s);
  single_ = zero_linear(b, "single", c.c_s, c.c_s);
  single_inputs_ = plain_linear(b, "single_inputs", c.c_single_inputs(), c.c_s);
  pair_norm_ = LayerNorm(b, "pair_norm", c.c_z);
  pair_ = zero_linear(b, "pair", c.c_z, c.c_z);
  pair_inputs_ = plain_linear(b, "pair_inputs", c.c_single_inputs(), 2 * c.c_z);
  distance_embedding_ = b.parameter("distances", {c.confidence_distance_bins, c.c_z}, Init::normal(0.5));
  {
    ModuleScope stack("pairformer");
    for (int64_t i = 0; i < c.confidence_blocks; ++i)
      layers_.push_back(std::make_unique<PairformerLayer>(b, std::to_string(i), c));
  }
  atoms_ = plain_linear(b, "atoms", c.c_atom, c.c_s);
  to_pae_ = zero_linear(b, "to_pae", c.c_z, c.pae_bins);
  to_pde_ = zero_linear(b, "to_pde", c.c_z, c.pde_bins);
  to_plddt_ = zero_linear(b, "to_plddt", c.c_s, c.plddt_bins);
  to_resolved_ = zero_linear(b, "to_resolved", c.c_s, 2);
  affinity_pool_ = Linear(b, "affinity_pool", c.c_s, c.c_s, true, Init::lecun(c.c_s));
  to_affinity_ = zero_linear(b, "to_affinity", c.c_s, 1);
}

Tensor ConfidenceHead::loss(const TrunkOutput& trunk, const Tensor& structure, const Example& e,
                            const DropoutSource& drop) const {
  ModuleScope scope("confidence");
  const auto frozen = [](const Tensor& t) { return ops::cast(t.detached(), DType::f32); };
  const int64_t N = e.molecules.size(1), A = structure.size(1);
  const Tensor inputs = frozen(trunk.single_inputs), x = centres(structure, N);
  Tensor s = ops::add(project(single_norm_, frozen(trunk.single), {&single_})[0], single_inputs_(inputs));
  Tensor z = project(pair_norm_, frozen(trunk.pair), {&pair_})[0];
  {
    const Tensor both = pair_inputs_(inputs);
    const int64_t c = config_.c_z;
    z = ops::add(z, ops::unsqueeze(ops::slice(both, 2, 0, c), 2));
    z = ops::add(z, ops::unsqueeze(ops::slice(both, 2, c, 2 * c), 1));
    z = ops::add(z, ops::matmul(soft_bins(distances(x, x), 3.375, 21.375, config_.confidence_distance_bins),
                                distance_embedding_));
  }
  {
    ModuleScope stack("pairformer");
    TensorList out = run_pairformer(layers_, ops::cast(s, DType::f32), ops::cast(z, DType::f32), drop);
    s = std::move(out[0]);
    z = std::move(out[1]);
  }
  const Tensor per_atom = ops::add(spread_to_atoms(s, A / N), atoms_(frozen(trunk.atoms)));
  const Tensor plddt = to_plddt_(per_atom), resolved = to_resolved_(per_atom);
  const Tensor pde = to_pde_(symmetric(z)), pae = to_pae_(z);
  const Tensor ligand = ops::sum(ops::mul(per_atom, e.ligand), {1});
  const Tensor affinity = to_affinity_(affinity_pool_(ligand));

  const PhaseScope phase(Phase::loss);
  const Tensor truth = ops::slice(e.truth, 0, 0, 1), centre_truth = centres(truth, N);
  const Tensor pair_error = ops::abs(ops::sub(distances(x, x), distances(centre_truth, centre_truth)));
  const Tensor frame_error = norm_of_last(ops::sub(in_local_frames(x), in_local_frames(centre_truth)));
  Tensor sum = soft_cross_entropy(plddt, soft_bins(atom_lddt(structure, truth, e), 0, 1, config_.plddt_bins));
  sum = ops::add(sum, soft_cross_entropy(pde, soft_bins(pair_error, 0.5, 32, config_.pde_bins)));
  sum = ops::add(sum, soft_cross_entropy(pae, soft_bins(frame_error, 0.5, 32, config_.pae_bins)));
  sum = ops::add(sum, ops::cross_entropy(ops::reshape(resolved, {A, 2}), e.resolved, ops::Reduction::mean));
  return ops::add(sum, ops::mse_loss(affinity, e.affinity, ops::Reduction::mean));
}

Tensor denoising_loss(const Tensor& denoised, const Tensor& truth, const Tensor& noise, int64_t total) {
  const PhaseScope phase(Phase::loss);
  ModuleScope scope("denoising_loss");
  const Tensor off = ops::sub(ops::cast(denoised, DType::f32), truth);
  const Tensor per_copy = ops::mean(ops::mul(off, off), {1, 2});
  const Tensor weight = ops::reshape(ops::slice(noise, 2, 4, 5), {noise.size(0)});
  return ops::scale(ops::sum_all(ops::mul(per_copy, weight)), 1.0 / static_cast<double>(total));
}

Tensor smooth_lddt_loss(const Tensor& denoised, const Example& e, int64_t total, int64_t at_once) {
  const PhaseScope phase(Phase::loss);
  ModuleScope scope("smooth_lddt");
  // Copies are only turned and shifted, so one set of true distances serves all.
  const Tensor truth = ops::slice(e.truth, 0, 0, 1);
  const int64_t copies = denoised.size(0);
  const auto run = [truth, far = e.far_atoms, limits = e.lddt_limits,
                    share = e.lddt_share](std::span<const Tensor> in) -> TensorList {
    const Tensor off = ops::abs(ops::sub(distances(in[0], in[0]), distances(truth, truth)));
    const Tensor kept = ops::mean(ops::sigmoid(ops::sub(limits, ops::unsqueeze(off, -1))), {3});
    return {ops::mul(ops::sum_all(ops::masked_fill(kept, far, 0)), share)};
  };
  const autograd::CheckpointScope always(autograd::CheckpointPolicy::block);
  const Tensor all = ops::cast(denoised, DType::f32);
  Tensor sum;
  for (int64_t first = 0; first < copies; first += at_once) {
    const bool whole = at_once >= copies;
    const Tensor some = whole ? all : ops::slice(all, 0, first, std::min(first + at_once, copies));
    const Tensor term = segment(Boundary::block, run, {some})[0];
    sum = sum.defined() ? ops::add(sum, term) : term;
  }
  return ops::affine(sum, -1.0 / static_cast<double>(total),
                     static_cast<double>(copies) / static_cast<double>(total));
}

}  // namespace reckon::models::af3
