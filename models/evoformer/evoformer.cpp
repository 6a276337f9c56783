#include "models/evoformer/evoformer.h"

#include "autograd/autocast.h"
#include "ops/binary/binary.h"
#include "ops/embedding/embedding.h"
#include "ops/view/view.h"
#include "runtime/events/scope.h"

namespace reckon::models {

using autograd::add_to_residual;

TriangleMultiplicationConfig triangle_multiplication(const PairStackConfig& c) {
  return {c.c_z, c.c_hidden_mul, c.biases, c.fuse_projection_weights};
}

PairStack::PairStack(Builder& b, std::string_view n, const PairStackConfig& c)
    : dropout(c.dropout), mask_transition(c.mask_transition) {
  const BlockBuilding building(block, n, b);
  tri_mul_out = TriangleMultiplication(b, "tri_mul_out", triangle_multiplication(c), true);
  tri_mul_in = TriangleMultiplication(b, "tri_mul_in", triangle_multiplication(c), false);
  tri_att_start = TriangleAttention(b, "tri_att_start", c, AttentionAxis::rows);
  tri_att_end = TriangleAttention(b, "tri_att_end", c, AttentionAxis::columns);
  if (c.swiglu_transition)
    swiglu_transition = SwigluTransition(b, "pair_transition", c.c_z, c.transition_n);
  else
    pair_transition = Transition(b, "pair_transition", c.c_z, c.transition_n);
}

Tensor PairStack::operator()(Tensor z, const Tensor& mask, const DropoutSource& drop) const {
  const BlockRun run(block);
  constexpr int kRowWise = 1, kColumnWise = 2;
  const auto update = [&](const auto& module, int shared_axis, std::string_view site) {
    const auto run = [&module, mask](auto in) { return module(in[0], mask); };
    z = add_dropped(z, branch({z}, run), dropout, shared_axis, site, drop);
  };
  update(tri_mul_out, kRowWise, "tri_mul_out");
  update(tri_mul_in, kRowWise, "tri_mul_in");
  update(tri_att_start, kRowWise, "tri_att_start");
  update(tri_att_end, kColumnWise, "tri_att_end");
  const Tensor transition_mask = mask_transition ? mask : Tensor{};
  return add_to_residual(z, branch({z}, [this, transition_mask](auto in) {
                           return swiglu_transition ? (*swiglu_transition)(in[0])
                                                    : pair_transition(in[0], transition_mask);
                         }));
}

EvoformerBlock::EvoformerBlock(Builder& b, std::string_view n, const EvoformerConfig& c) : config(c) {
  const BlockBuilding building(block, n, b);
  msa_att_row = MsaRowAttention(b, "msa_att_row", c);
  msa_att_col = MsaColumnAttention(b, "msa_att_col", c);
  msa_transition = Transition(b, "msa_transition", c.c_m, c.transition_n);
  outer_product_mean = OuterProductMean(b, "outer_product_mean", c.c_m, c.c_hidden_opm, c.c_z);
  pair_stack = PairStack(b, "pair_stack", c.pair_stack());
}

TensorList EvoformerBlock::operator()(const Tensor& m0, const Tensor& z0, const EvoformerInputs& in) const {
  const BlockRun run(block);
  Tensor m = m0, z = z0;
  const Tensor mask = in.msa_mask, transition_mask = config.mask_transitions ? mask : Tensor{};
  const auto outer = [this, mask](auto v) { return outer_product_mean(v[0], mask); };
  if (config.opm_first) z = add_to_residual(z, branch({m}, outer));
  const auto row = [this, mask](auto v) { return msa_att_row(v[0], v[1], mask); };
  m = add_dropped(m, branch({m, z}, row), config.msa_dropout, 1, "msa_att_row", in.drop);
  m = add_to_residual(m, branch({m}, [this, mask](auto v) { return msa_att_col(v[0], mask); }));
  m = add_to_residual(
      m, branch({m}, [this, transition_mask](auto v) { return msa_transition(v[0], transition_mask); }));
  if (!config.opm_first) z = add_to_residual(z, branch({m}, outer));
  z = pair_stack(z, in.pair_mask, in.drop);
  return {m, z};
}

MaskedMsaModel::MaskedMsaModel(Device& device, const EvoformerConfig& config, uint64_t seed, DType dtype)
    : config_(config) {
  config_.validate();
  Builder b(device, dtype, seed, parameters_);
  {
    ModuleScope scope("input_embedder");
    // A table is a linear layer on a one-hot vector, so it starts like one.
    const Init m = Init::lecun(kResidues), z = m;
    msa_embedding_ = b.parameter("msa", {kResidues, config_.c_m}, m);
    left_embedding_ = b.parameter("left", {kResidues, config_.c_z}, z);
    right_embedding_ = b.parameter("right", {kResidues, config_.c_z}, z);
    position_embedding_ =
        b.parameter("relative_position", {kRelativePositions, config_.c_z}, Init::lecun(kRelativePositions));
    deletion_embedding_ = Linear(b, "deletions", 2, config_.c_m, false, Init::lecun(2));
  }
  {
    ModuleScope scope("blocks");
    for (int64_t i = 0; i < config_.blocks; ++i)
      blocks_.push_back(std::make_unique<EvoformerBlock>(b, std::to_string(i), config_));
  }
  ModuleScope scope("masked_msa_head");
  head_weight_ = b.parameter("weight", {kResidues, config_.c_m}, Init::constant(0));
}

Tensor MaskedMsaModel::loss(const MsaTensors& batch, bool training) const {
  RECKON_CHECK(batch.msa.rank() == 3 && batch.msa.dtype() == DType::i64,
               "residue ids must be i64 [batch, rows, residues], got {}", describe(batch.msa));
  const int64_t B = batch.msa.size(0), S = batch.msa.size(1), R = batch.msa.size(2);
  Tensor m, z;
  {
    ModuleScope scope("input_embedder");
    m = ops::add(ops::embedding(batch.msa, msa_embedding_), deletion_embedding_(batch.deletions));
    const Tensor query = ops::reshape(ops::slice(batch.msa, 1, 0, 1), {B, R});
    const Tensor left = ops::unsqueeze(ops::embedding(query, left_embedding_), 2);
    const Tensor right = ops::unsqueeze(ops::embedding(query, right_embedding_), 1);
    z = ops::add(ops::add(left, right), ops::embedding(batch.residue_index, position_embedding_));
    m = autograd::residual_stream(m);
    z = autograd::residual_stream(z);
  }
  EvoformerInputs in{batch.msa_mask, batch.pair_mask, {.training = training, .recorded = {}}};
  {
    ModuleScope scope("blocks");
    TensorList mz{m, z};
    m = z = {};
    mz = run_blocks(blocks_, std::move(mz),
                    [in](const EvoformerBlock& block, auto v) { return block(v[0], v[1], in); });
    m = std::move(mz[0]);
    z = std::move(mz[1]);
  }
  PhaseScope phase(Phase::loss);
  ModuleScope scope("masked_msa_head");
  const Tensor targets = batch.targets.reshaped({B * S * R});
  const Tensor rows = ops::reshape(m, {B * S * R, config_.c_m});
  m = {};
  return head_cross_entropy(rows, head_weight_, targets);
}

}  // namespace reckon::models
