#include "models/pairformer/masked_residue.h"

#include "autograd/autocast.h"
#include "ops/binary/binary.h"
#include "ops/embedding/embedding.h"
#include "ops/view/view.h"
#include "runtime/events/scope.h"

namespace reckon::models {

using Alphabet = ResidueAlphabet;

MaskedResidueModel::Embedder MaskedResidueModel::embedder(Builder& b, std::string_view name, int64_t width) {
  ModuleScope scope(intern(name));
  // One-hot residues have length 1 and profiles little less, whatever their width: with their width as
  // fan-in all positions would start nearly alike.
  return {b.parameter("residue", {Alphabet::kInputs, width}, Init::lecun(1)),
          Linear(b, "profile", Alphabet::kTargets, width, false, Init::lecun(1))};
}

Tensor MaskedResidueModel::Embedder::operator()(const ResidueTensors& batch) const {
  return ops::add(ops::embedding(batch.residues, residue), profile(batch.profile));
}

MaskedResidueModel::MaskedResidueModel(Device& device, const PairformerConfig& config, uint64_t seed,
                                       DType dtype)
    : config_(config) {
  config_.validate();
  Builder b(device, dtype, seed, parameters_);
  {
    ModuleScope scope("input_embedder");
    single_ = embedder(b, "single", config_.c_s);
    left_ = embedder(b, "left", config_.c_z);
    right_ = embedder(b, "right", config_.c_z);
    position_embedding_ =
        b.parameter("relative_position", {Alphabet::kRelativePositions, config_.c_z}, Init::lecun(1));
  }
  {
    ModuleScope scope("blocks");
    for (int64_t i = 0; i < config_.blocks; ++i)
      blocks_.push_back(std::make_unique<PairformerBlock>(b, std::to_string(i), config_));
  }
  ModuleScope scope("masked_residue_head");
  head_norm_ = LayerNorm(b, "layer_norm", config_.c_s);
  head_weight_ = b.parameter("weight", {Alphabet::kTargets, config_.c_s}, Init::constant(0));
}

Tensor MaskedResidueModel::loss(const ResidueTensors& batch, bool training) const {
  RECKON_CHECK(batch.residues.rank() == 2 && batch.residues.dtype() == DType::i64,
               "residues must be i64 [batch, residues], got {}", describe(batch.residues));
  const int64_t B = batch.residues.size(0), N = batch.residues.size(1);
  Tensor s, z;
  {
    ModuleScope scope("input_embedder");
    s = single_(batch);
    const Tensor left = ops::unsqueeze(left_(batch), 2), right = ops::unsqueeze(right_(batch), 1);
    z = ops::add(ops::add(left, right), ops::embedding(batch.relative_position, position_embedding_));
    s = autograd::residual_stream(s);
    z = autograd::residual_stream(z);
  }
  const PairformerInputs in{batch.pair_mask, batch.single_mask, {.training = training, .recorded = {}}};
  {
    ModuleScope scope("blocks");
    TensorList sz{s, z};
    s = z = {};
    sz = run_blocks(blocks_, std::move(sz),
                    [in](const PairformerBlock& block, auto v) { return block(v[0], v[1], in); });
    s = std::move(sz[0]);
  }
  PhaseScope phase(Phase::loss);
  ModuleScope scope("masked_residue_head");
  const Tensor targets = batch.targets.reshaped({B * N});
  const Tensor rows = head_norm_(ops::reshape(s, {B * N, config_.c_s}));
  s = {};
  return head_cross_entropy(rows, head_weight_, targets);
}

}  // namespace reckon::models
