// Next-token training of a Qwen decoder on a token file.
#include <filesystem>

#include "models/data/token_file.h"
#include "models/qwen/folder.h"
#include "models/qwen/options.h"
#include "models/train/batched_task.h"
#include "models/train/upload.h"
#include "runtime/core/format.h"

namespace reckon::models {
namespace {

struct QwenInputTensors {
  Tensor ids, labels;
};

class QwenTask : public BatchedTask<data::TokenBatch, QwenInputTensors> {
 public:
  QwenTask(const RunOptions& o, Device& device, bool with_data, int64_t first_batch)
      : BatchedTask(o, device, first_batch), own_(o.own<QwenOptions>()) {
    const QwenConfig config = qwen_config(o);
    if (with_data) read_text(config.vocab);
    model_ = std::make_unique<Qwen>(device, config, o.seed);
    if (!own_.model_dir.empty()) load_folder_weights(own_.model_dir, *model_);
    if (own_.lora) model_->add_lora(*own_.lora);
  }

  const ParameterSet& parameters() const override { return model_->parameters(); }
  int64_t items_per_batch() const override { return options_.batch * options_.seq; }
  void export_folder(const std::filesystem::path& folder, DType dtype) const override {
    models::export_folder(folder, *model_, {dtype, own_.tokenizer, own_.model_dir});
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
        own_.lora ? fmt::format(", {} of them trained (LoRA {})", format_count(trained), own_.lora->to_string())
                  : "",
        n_tokens_ > 0 ? fmt::format("; {} tokens of text", format_count(n_tokens_)) : "");
  }

 protected:
  data::TokenBatch batch_without_data(int64_t) const override {
    data::TokenBatch host;
    host.ids.assign(static_cast<size_t>(options_.batch * options_.seq), 0);
    host.labels = host.ids;
    return host;
  }
  QwenInputTensors upload(const data::TokenBatch& host) const override {
    const Shape shape{options_.batch, options_.seq};
    QwenInputTensors t;
    t.ids = models::upload(device_, shape, DType::i64, host.ids, "ids");
    t.labels = models::upload(device_, shape, DType::i64, host.labels, "labels");
    return t;
  }
  Tensor forward(const QwenInputTensors& t) override { return model_->loss(t.ids, t.labels); }

 private:
  void read_text(int64_t vocab) {
    RECKON_CHECK(!options_.data.empty(), "training needs text: give --data FILE or FOLDER");
    const data::Tokenizer tokenizer = open_tokenizer(own_.tokenizer);
    std::filesystem::create_directories(own_.cache_dir);
    const auto cache = std::filesystem::path(own_.cache_dir) /
                       (std::filesystem::absolute(options_.data).lexically_normal().filename().string() + "." +
                        std::to_string(tokenizer.fingerprint() % 1000003) + ".tokens");
    auto file =
        std::make_shared<data::TokenFile>(data::TokenFile::open_or_build(options_.data, cache, tokenizer));
    RECKON_CHECK(tokenizer.vocab_size() <= vocab,
                 "the tokenizer has {} ids but the model's vocabulary only {}: use another preset or tokenizer",
                 tokenizer.vocab_size(), vocab);
    n_tokens_ = static_cast<int64_t>(file->n_tokens());
    auto batches = std::make_shared<data::TokenBatches>(*file, options_.batch, options_.seq, options_.seed);
    read_ahead([file, batches](uint64_t step) { return batches->at(step); });
  }

  QwenOptions own_;
  int64_t n_tokens_ = 0;
  std::unique_ptr<Qwen> model_;
};

}  // namespace

std::unique_ptr<TrainTask> make_qwen_task(const RunOptions& o, Device& device, bool with_data,
                                          int64_t first_batch) {
  return std::make_unique<QwenTask>(o, device, with_data, first_batch);
}

}  // namespace reckon::models
