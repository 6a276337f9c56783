// Masked-residue training of a Pairformer stack on the rows of one alignment.
#include "models/data/masked_residues.h"
#include "models/data/prefetcher.h"
#include "models/pairformer/masked_residue.h"
#include "models/train/task.h"
#include "models/train/upload.h"
#include "runtime/core/format.h"
#include "runtime/events/scope.h"

namespace reckon::models {
namespace {

class PairformerTask : public TrainTask {
 public:
  PairformerTask(const RunOptions& o, Device& device, bool with_data, int64_t first_batch)
      : options_(o), device_(device), next_(first_batch) {
    RECKON_CHECK(o.config.empty(), "--config is for qwen; the Pairformer's sizes come from --preset");
    const PairformerConfig config = PairformerConfig::preset(o.preset);
    if (with_data) {
      RECKON_CHECK(
          !o.data.empty(),
          "training needs an alignment: give --data FILE (a3m, Stockholm, aligned FASTA or one row per "
          "line)");
      alignment_ = data::read_alignment(o.data);
      batches_ = std::make_unique<data::ResidueBatches>(*alignment_, o.batch, o.seq, o.seed);
      prefetcher_ = std::make_unique<data::Prefetcher<data::ResidueBatch>>(
          [this](uint64_t step) { return batches_->at(step); }, static_cast<uint64_t>(first_batch));
    }
    model_ = std::make_unique<MaskedResidueModel>(device, config, o.seed);
  }

  const ParameterSet& parameters() const override { return model_->parameters(); }

  Tensor loss(int64_t batch) override {
    RECKON_CHECK(batch == next_, "batches come in order: expected number {}, asked for {}", next_, batch);
    ++next_;
    ResidueTensors tensors;
    {
      PhaseScope phase(Phase::data);
      ModuleScope scope("data");
      tensors = tensors_of(prefetcher_ ? prefetcher_->next() : empty_batch());
    }
    PhaseScope phase(Phase::forward);
    return model_->loss(tensors, options_.dropout);
  }

  int64_t items_per_batch() const override { return options_.batch * options_.seq; }
  std::string item_name() const override { return "residues"; }
  void export_folder(const std::filesystem::path&, DType) const override {
    raise_error("--export writes a Hugging Face folder, which pairformer models have no form for: use --out");
  }
  std::string describe() const override {
    const PairformerConfig& c = model_->config();
    return fmt::format(
        "{}: {} blocks, c_s {}, c_z {}, {} + {} heads: {} parameters; {} sequences x {} residues{}", c.name,
        c.blocks, c.c_s, c.c_z, c.heads_single, c.heads_pair, format_count(parameters().n_elements()),
        options_.batch, options_.seq,
        alignment_ ? fmt::format(" of an alignment {} x {}", alignment_->n_seq, alignment_->n_res) : "");
  }

 private:
  data::ResidueBatch empty_batch() const {
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

  ResidueTensors tensors_of(const data::ResidueBatch& h) const {
    const int64_t B = h.batch, N = h.n_res;
    const std::vector<int64_t> relative =
        relative_positions(h.residue_index, B, N, ResidueAlphabet::kRelativePositions / 2);
    // Crops are never padded, but a Pairformer is always run with its masks.
    const std::vector<float> ones(static_cast<size_t>(B * N * N), 1.0f);
    const std::vector<float> single_ones(static_cast<size_t>(B * N), 1.0f);
    ResidueTensors t;
    t.residues = upload(device_, {B, N}, DType::i64, h.masked_ids, "residues");
    t.targets = upload(device_, {B, N}, DType::i64, h.targets, "targets");
    t.profile = upload(device_, {B, N, data::kProfileWidth}, DType::f32, h.profile, "profile");
    t.relative_position = upload(device_, {B, N, N}, DType::i64, relative, "relative_position");
    t.single_mask = upload(device_, {B, N}, DType::f32, single_ones, "single_mask");
    t.pair_mask = upload(device_, {B, N, N}, DType::f32, ones, "pair_mask");
    return t;
  }

  RunOptions options_;
  Device& device_;
  std::optional<data::Alignment> alignment_;
  std::unique_ptr<data::ResidueBatches> batches_;
  std::unique_ptr<data::Prefetcher<data::ResidueBatch>> prefetcher_;
  std::unique_ptr<MaskedResidueModel> model_;
  int64_t next_ = 0;
};

static_assert(ResidueAlphabet::kTargets == data::kProfileWidth &&
              ResidueAlphabet::kInputs == data::kMsaInputSymbols);

}  // namespace

std::unique_ptr<TrainTask> make_pairformer_task(const RunOptions& o, Device& device, bool with_data,
                                                int64_t first_batch) {
  return std::make_unique<PairformerTask>(o, device, with_data, first_batch);
}

}  // namespace reckon::models
