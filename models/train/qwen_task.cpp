// Next-token training of a Qwen decoder on a token file.
#include <filesystem>

#include "models/block_weights.h"
#include "models/data/prefetcher.h"
#include "models/data/token_file.h"
#include "models/qwen/folder.h"
#include "models/train/task.h"
#include "models/train/upload.h"
#include "runtime/core/format.h"
#include "runtime/events/scope.h"

namespace reckon::models {
namespace {

class QwenTask : public TrainTask {
 public:
  QwenTask(const RunOptions& o, Device& device, bool with_data, int64_t first_batch)
      : options_(o), device_(device) {
    QwenConfig config = !o.model_dir.empty() ? read_folder_config(o.model_dir)
                        : o.qwen_sizes       ? *o.qwen_sizes
                        : o.config.empty()   ? QwenConfig::preset(o.preset)
                                             : QwenConfig::from_json_file(o.config);
    if (with_data) {
      RECKON_CHECK(!o.data.empty(), "training needs text: give --data FILE or FOLDER");
      const data::Tokenizer tokenizer = open_tokenizer(o.tokenizer);
      std::filesystem::create_directories(o.cache_dir);
      const auto cache = std::filesystem::path(o.cache_dir) /
                         (std::filesystem::absolute(o.data).lexically_normal().filename().string() + "." +
                          std::to_string(tokenizer.fingerprint() % 1000003) + ".tokens");
      file_ = data::TokenFile::open_or_build(o.data, cache, tokenizer);
      RECKON_CHECK(
          tokenizer.vocab_size() <= config.vocab,
          "the tokenizer has {} ids but the model's vocabulary only {}: use another preset or tokenizer",
          tokenizer.vocab_size(), config.vocab);
      batches_ = std::make_unique<data::TokenBatches>(*file_, o.batch, o.seq, o.seed);
      prefetcher_ = std::make_unique<data::Prefetcher<data::TokenBatch>>(
          [this](uint64_t step) { return batches_->at(step); }, static_cast<uint64_t>(first_batch));
    }
    next_ = first_batch;
    model_ = std::make_unique<Qwen>(device, config, o.seed);
    if (!o.model_dir.empty()) load_folder_weights(o.model_dir, *model_);
    if (o.lora) model_->add_lora(*o.lora);
  }

  const ParameterSet& parameters() const override { return model_->parameters(); }

  Tensor loss(int64_t batch) override {
    RECKON_CHECK(batch == next_, "batches come in order: expected number {}, asked for {}", next_, batch);
    ++next_;
    data::TokenBatch host;
    if (prefetcher_) {
      host = prefetcher_->next();
    } else {
      host.ids.assign(static_cast<size_t>(options_.batch * options_.seq), 0);
      host.labels = host.ids;
    }
    const Shape shape{options_.batch, options_.seq};
    Tensor ids, labels;
    {
      PhaseScope phase(Phase::data);
      ModuleScope scope("data");
      ids = upload(device_, shape, DType::i64, host.ids, "ids");
      labels = upload(device_, shape, DType::i64, host.labels, "labels");
    }
    PhaseScope phase(Phase::forward);
    return model_->loss(ids, labels);
  }

  int64_t items_per_batch() const override { return options_.batch * options_.seq; }
  std::string item_name() const override { return "tokens"; }
  void export_folder(const std::filesystem::path& folder, DType dtype) const override {
    models::export_folder(folder, *model_, {dtype, options_.tokenizer, options_.model_dir});
  }
  std::string describe() const override {
    const QwenConfig& c = model_->config();
    int64_t trained = 0;
    for (const NamedParameter& p : parameters().all())
      if (p.tensor.requires_grad()) trained += p.tensor.numel();
    return fmt::format(
        "{}: {} layers, hidden {}, {} heads ({} key/value), feed-forward {}, vocabulary {}: {} parameters{}{}",
        c.name, c.layers, c.hidden, c.heads, c.kv_heads, c.intermediate, c.vocab,
        format_count(parameters().n_elements()),
        options_.lora
            ? fmt::format(", {} of them trained (LoRA {})", format_count(trained), options_.lora->to_string())
            : "",
        file_ ? fmt::format("; {} tokens of text", format_count(static_cast<int64_t>(file_->n_tokens()))) : "");
  }

 private:
  RunOptions options_;
  Device& device_;
  std::optional<data::TokenFile> file_;
  std::unique_ptr<data::TokenBatches> batches_;
  std::unique_ptr<data::Prefetcher<data::TokenBatch>> prefetcher_;
  std::unique_ptr<Qwen> model_;
  int64_t next_ = 0;
};

}  // namespace

std::unique_ptr<TrainTask> make_qwen_task(const RunOptions& o, Device& device, bool with_data,
                                          int64_t first_batch) {
  return std::make_unique<QwenTask>(o, device, with_data, first_batch);
}

namespace {

std::unique_ptr<TrainTask> fresh_task(const RunOptions& o, Device& device, bool with_data,
                                      int64_t first_batch) {
  switch (o.family) {
    case Family::qwen:
      return make_qwen_task(o, device, with_data, first_batch);
    case Family::evoformer:
      return make_evoformer_task(o, device, with_data, first_batch);
    case Family::pairformer:
      return make_pairformer_task(o, device, with_data, first_batch);
    case Family::af3:
      return make_af3_task(o, device, with_data, first_batch);
  }
  raise_error(fmt::format("no training task for {}", name_of(o.family)));
}

}  // namespace

std::unique_ptr<TrainTask> make_task(const RunOptions& o, Device& device, bool with_data, int64_t first_batch) {
  auto task = fresh_task(o, device, with_data, first_batch);
  if (o.weights.empty()) return task;
  const LoadedBlocks read = load_block_weights({o.weights, o.weights_prefix}, task->parameters());
  task->loaded = fmt::format(
      "blocks {} from {}: {} tensors of '{}', names of {}; the parameters around them start at random",
      device.executes() ? "read" : "checked", o.weights, read.n_tensors, read.prefix, read.code);
  return task;
}

}  // namespace reckon::models
