// Masked-residue training of a Pairformer stack on the rows of one alignment.
#include "models/data/masked_residues.h"
#include "models/pairformer/masked_residue.h"
#include "models/train/batched_task.h"
#include "models/train/upload.h"
#include "runtime/core/format.h"

namespace reckon::models {
namespace {

class PairformerTask : public BatchedTask<data::ResidueBatch, ResidueTensors> {
 public:
  PairformerTask(const RunOptions& o, Device& device, bool with_data, int64_t first_batch)
      : BatchedTask(o, device, first_batch) {
    const PairformerConfig config = PairformerConfig::preset(o.preset);
    if (with_data) {
      alignment_ = read_training_alignment(o.data);
      auto batches = std::make_shared<data::ResidueBatches>(*alignment_, o.batch, o.seq, o.seed);
      read_ahead([alignment = alignment_, batches](uint64_t step) { return batches->at(step); });
    }
    model_ = std::make_unique<MaskedResidueModel>(device, config, o.seed);
  }

  const ParameterSet& parameters() const override { return model_->parameters(); }
  int64_t items_per_batch() const override { return options_.batch * options_.seq; }
  std::string describe() const override {
    const PairformerConfig& c = model_->config();
    return fmt::format(
        "{}: {} blocks, c_s {}, c_z {}, {} + {} heads: {} parameters; {} sequences x {} residues{}", c.name,
        c.blocks, c.c_s, c.c_z, c.heads_single, c.heads_pair, format_count(parameters().n_elements()),
        options_.batch, options_.seq,
        alignment_ ? fmt::format(" of an alignment {} x {}", alignment_->n_seq, alignment_->n_res) : "");
  }

 protected:
  data::ResidueBatch batch_without_data(int64_t) const override {
    data::ResidueBatch h;
    h.batch = options_.batch;
    h.n_res = options_.seq;
    const auto n = static_cast<size_t>(h.batch * h.n_res);
    h.masked_ids.assign(n, 0);
    h.targets.assign(n, 0);
    h.profile.assign(n * data::kProfileWidth, 0.0f);
    h.residue_index.assign(n, 0);
    return h;
  }

  ResidueTensors upload(const data::ResidueBatch& h) const override {
    const int64_t B = h.batch, N = h.n_res;
    const std::vector<int64_t> relative =
        relative_positions(h.residue_index, B, N, ResidueAlphabet::kRelativePositions / 2);
    // Crops are never padded, but a Pairformer is always run with its masks.
    const std::vector<float> ones(static_cast<size_t>(B * N * N), 1.0f);
    const std::vector<float> single_ones(static_cast<size_t>(B * N), 1.0f);
    ResidueTensors t;
    t.residues = models::upload(device_, {B, N}, DType::i64, h.masked_ids, "residues");
    t.targets = models::upload(device_, {B, N}, DType::i64, h.targets, "targets");
    t.profile = models::upload(device_, {B, N, data::kProfileWidth}, DType::f32, h.profile, "profile");
    t.relative_position = models::upload(device_, {B, N, N}, DType::i64, relative, "relative_position");
    t.single_mask = models::upload(device_, {B, N}, DType::f32, single_ones, "single_mask");
    t.pair_mask = models::upload(device_, {B, N, N}, DType::f32, ones, "pair_mask");
    return t;
  }
  Tensor forward(const ResidueTensors& t) override { return model_->loss(t, options_.dropout); }

 private:
  std::shared_ptr<data::Alignment> alignment_;
  std::unique_ptr<MaskedResidueModel> model_;
};

static_assert(ResidueAlphabet::kTargets == data::kProfileWidth &&
              ResidueAlphabet::kInputs == data::kMsaInputSymbols);

}  // namespace

std::unique_ptr<TrainTask> make_pairformer_task(const RunOptions& o, Device& device, bool with_data,
                                                int64_t first_batch) {
  return std::make_unique<PairformerTask>(o, device, with_data, first_batch);
}

}  // namespace reckon::models
