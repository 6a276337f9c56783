// Masked-MSA training of an Evoformer stack on one alignment.
#include "models/data/msa_batches.h"
#include "models/data/prefetcher.h"
#include "models/evoformer/evoformer.h"
#include "models/train/task.h"
#include "models/train/upload.h"
#include "runtime/core/format.h"
#include "runtime/events/scope.h"

namespace reckon::models {
namespace {

class EvoformerTask : public TrainTask {
 public:
  EvoformerTask(const RunOptions& o, Device& device, bool with_data, int64_t first_batch)
      : options_(o), device_(device) {
    RECKON_CHECK(o.config.empty(), "--config is for qwen; the Evoformer's sizes come from --preset");
    const EvoformerConfig config = EvoformerConfig::preset(o.preset);
    if (with_data) {
      RECKON_CHECK(
          !o.data.empty(),
          "training needs an alignment: give --data FILE (a3m, Stockholm, aligned FASTA or one row per line)");
      alignment_ = data::read_alignment(o.data);
      data::MsaBatchOptions b;
      b.batch = o.batch;
      b.n_seq = o.rows;
      b.n_res = o.seq;
      batches_ = std::make_unique<data::MsaBatches>(*alignment_, b, o.seed);
      prefetcher_ = std::make_unique<data::Prefetcher<data::MsaBatch>>(
          [this](uint64_t step) { return batches_->at(step); }, static_cast<uint64_t>(first_batch));
    }
    next_ = first_batch;
    model_ = std::make_unique<MaskedMsaModel>(device, config, o.seed);
  }

  const ParameterSet& parameters() const override { return model_->parameters(); }

  Tensor loss(int64_t batch) override {
    RECKON_CHECK(batch == next_, "batches come in order: expected number {}, asked for {}", next_, batch);
    ++next_;
    MsaTensors tensors;
    {
      PhaseScope phase(Phase::data);
      ModuleScope scope("data");
      tensors = tensors_of(prefetcher_ ? prefetcher_->next() : empty_batch());
    }
    PhaseScope phase(Phase::forward);
    return model_->loss(tensors, options_.dropout);
  }

  int64_t items_per_batch() const override { return options_.batch * options_.rows * options_.seq; }
  std::string item_name() const override { return "residues"; }
  void export_folder(const std::filesystem::path&, DType) const override {
    raise_error("--export writes a Hugging Face folder, which evoformer models have no form for: use --out");
  }
  std::string describe() const override {
    const EvoformerConfig& c = model_->config();
    return fmt::format(
        "{}: {} blocks, c_m {}, c_z {}, {} + {} heads: {} parameters; crop {} rows x {} residues{}", c.name,
        c.blocks, c.c_m, c.c_z, c.heads_msa, c.heads_pair, format_count(parameters().n_elements()),
        options_.rows, options_.seq,
        alignment_ ? fmt::format(" of an alignment {} x {}", alignment_->n_seq, alignment_->n_res) : "");
  }

 private:
  data::MsaBatch empty_batch() const {
    data::MsaBatch h;
    h.batch = options_.batch;
    h.n_seq = options_.rows;
    h.n_res = options_.seq;
    const auto n = static_cast<size_t>(h.batch * h.n_seq * h.n_res);
    h.masked_ids.assign(n, 0);
    h.targets.assign(n, 0);
    h.has_deletion.assign(n, 0.0f);
    h.deletion_value.assign(n, 0.0f);
    h.msa_mask.assign(n, 1.0f);
    h.residue_index.assign(static_cast<size_t>(h.batch * h.n_res), 0);
    return h;
  }

  MsaTensors tensors_of(const data::MsaBatch& h) const {
    const int64_t B = h.batch, S = h.n_seq, R = h.n_res;
    std::vector<float> deletions(h.has_deletion.size() * 2), pair_mask(static_cast<size_t>(B * R * R));
    for (size_t i = 0; i < h.has_deletion.size(); ++i) {
      deletions[2 * i] = h.has_deletion[i];
      deletions[2 * i + 1] = h.deletion_value[i];
    }
    for (int64_t b = 0; b < B; ++b)
      for (int64_t i = 0; i < R; ++i)
        for (int64_t j = 0; j < R; ++j)  // the query row tells which residues are real
          pair_mask[static_cast<size_t>((b * R + i) * R + j)] =
              h.msa_mask[static_cast<size_t>(b * S * R + i)] * h.msa_mask[static_cast<size_t>(b * S * R + j)];
    const std::vector<int64_t> relative =
        relative_positions(h.residue_index, B, R, MaskedMsaModel::kRelativePositions / 2);
    MsaTensors t;
    t.msa = upload(device_, {B, S, R}, DType::i64, h.masked_ids, "msa");
    t.targets = upload(device_, {B, S, R}, DType::i64, h.targets, "targets");
    t.deletions = upload(device_, {B, S, R, 2}, DType::f32, deletions, "deletions");
    t.residue_index = upload(device_, {B, R, R}, DType::i64, relative, "relative_position");
    t.msa_mask = upload(device_, {B, S, R}, DType::f32, h.msa_mask, "msa_mask");
    t.pair_mask = upload(device_, {B, R, R}, DType::f32, pair_mask, "pair_mask");
    return t;
  }

  RunOptions options_;
  Device& device_;
  std::optional<data::Alignment> alignment_;
  std::unique_ptr<data::MsaBatches> batches_;
  std::unique_ptr<data::Prefetcher<data::MsaBatch>> prefetcher_;
  std::unique_ptr<MaskedMsaModel> model_;
  int64_t next_ = 0;
};

}  // namespace

std::unique_ptr<TrainTask> make_evoformer_task(const RunOptions& o, Device& device, bool with_data,
                                               int64_t first_batch) {
  return std::make_unique<EvoformerTask>(o, device, with_data, first_batch);
}

}  // namespace reckon::models
