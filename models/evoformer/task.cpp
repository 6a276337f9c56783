// Masked-MSA training of an Evoformer stack on one alignment.
#include "models/data/msa_batches.h"
#include "models/evoformer/evoformer.h"
#include "models/train/batched_task.h"
#include "models/train/upload.h"
#include "runtime/core/format.h"

namespace reckon::models {
namespace {

class EvoformerTask : public BatchedTask<data::MsaBatch, MsaTensors> {
 public:
  EvoformerTask(const RunOptions& o, Device& device, bool with_data, int64_t first_batch)
      : BatchedTask(o, device, first_batch) {
    const EvoformerConfig config = EvoformerConfig::preset(o.preset);
    if (with_data) {
      alignment_ = read_training_alignment(o.data);
      data::MsaBatchOptions b;
      b.batch = o.batch;
      b.n_seq = o.rows;
      b.n_res = o.seq;
      auto batches = std::make_shared<data::MsaBatches>(*alignment_, b, o.seed);
      read_ahead([alignment = alignment_, batches](uint64_t step) { return batches->at(step); });
    }
    model_ = std::make_unique<MaskedMsaModel>(device, config, o.seed);
  }

  const ParameterSet& parameters() const override { return model_->parameters(); }
  int64_t items_per_batch() const override { return options_.batch * options_.rows * options_.seq; }
  std::string describe() const override {
    const EvoformerConfig& c = model_->config();
    return fmt::format(
        "{}: {} blocks, c_m {}, c_z {}, {} + {} heads: {} parameters; crop {} rows x {} residues{}", c.name,
        c.blocks, c.c_m, c.c_z, c.heads_msa, c.heads_pair, format_count(parameters().n_elements()),
        options_.rows, options_.seq,
        alignment_ ? fmt::format(" of an alignment {} x {}", alignment_->n_seq, alignment_->n_res) : "");
  }

 protected:
  data::MsaBatch batch_without_data(int64_t) const override {
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

  MsaTensors upload(const data::MsaBatch& h) const override {
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
    t.msa = models::upload(device_, {B, S, R}, DType::i64, h.masked_ids, "msa");
    t.targets = models::upload(device_, {B, S, R}, DType::i64, h.targets, "targets");
    t.deletions = models::upload(device_, {B, S, R, 2}, DType::f32, deletions, "deletions");
    t.residue_index = models::upload(device_, {B, R, R}, DType::i64, relative, "relative_position");
    t.msa_mask = models::upload(device_, {B, S, R}, DType::f32, h.msa_mask, "msa_mask");
    t.pair_mask = models::upload(device_, {B, R, R}, DType::f32, pair_mask, "pair_mask");
    return t;
  }
  Tensor forward(const MsaTensors& t) override { return model_->loss(t, options_.dropout); }

 private:
  std::shared_ptr<data::Alignment> alignment_;
  std::unique_ptr<MaskedMsaModel> model_;
};

}  // namespace

std::unique_ptr<TrainTask> make_evoformer_task(const RunOptions& o, Device& device, bool with_data,
                                               int64_t first_batch) {
  return std::make_unique<EvoformerTask>(o, device, with_data, first_batch);
}

}  // namespace reckon::models
