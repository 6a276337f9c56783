// A whole model family in one file: the next symbol from this one, on sequences it makes up.
// docs/adding_a_model.md walks through it; family_test.py runs the program that has it.
#include "models/nn/layers.h"
#include "models/train/batched_task.h"
#include "models/train/family.h"
#include "models/train/upload.h"
#include "ops/cross_entropy/cross_entropy.h"
#include "ops/embedding/embedding.h"
#include "ops/view/view.h"
#include "runtime/core/format.h"
#include "runtime/core/rng.h"

namespace reckon::models {
namespace {

struct BigramOptions {
  int64_t stride = 3;  // symbol s is followed by stride * s + 1
};

struct Sizes {
  int64_t symbols, width;
};

Sizes sizes_of(const std::string& preset) {
  if (preset == "demo") return {64, 32};
  if (preset == "tiny") return {16, 8};
  raise_error(fmt::format("unknown bigram preset '{}': expected demo or tiny", preset));
}

struct HostBatch {
  std::vector<int64_t> ids, next;
};
struct Batch {
  Tensor ids, next;
};

class BigramTask : public BatchedTask<HostBatch, Batch> {
 public:
  BigramTask(const RunOptions& o, Device& device, bool with_data, int64_t first_batch)
      : BatchedTask(o, device, first_batch), sizes_(sizes_of(o.preset)) {
    Builder b(device, DType::f32, o.seed, parameters_);
    {
      ModuleScope scope("embedding");
      table_ = b.parameter("weight", {sizes_.symbols, sizes_.width}, Init::normal(1));
    }
    head_ = Linear(b, "head", sizes_.width, sizes_.symbols, /*with_bias=*/true, Init::lecun(sizes_.width));
    if (with_data)
      read_ahead([o, zeros = batch_without_data(0), symbols = sizes_.symbols](uint64_t number) {
        HostBatch batch = zeros;
        for (size_t i = 0; i < batch.ids.size(); ++i) {
          batch.ids[i] = Philox{o.seed, number}(i)[0] % symbols;
          batch.next[i] = (o.own<BigramOptions>().stride * batch.ids[i] + 1) % symbols;
        }
        return batch;
      });
  }

  const ParameterSet& parameters() const override { return parameters_; }
  int64_t items_per_batch() const override { return options_.batch * options_.seq; }
  std::string describe() const override {
    return fmt::format("{}: {} symbols, width {}: {} parameters", options_.preset, sizes_.symbols, sizes_.width,
                       format_count(parameters_.n_elements()));
  }

 protected:
  HostBatch batch_without_data(int64_t) const override {
    const std::vector<int64_t> zeros(static_cast<size_t>(options_.batch * options_.seq), 0);
    return {zeros, zeros};
  }
  Batch upload(const HostBatch& host) const override {
    const Shape shape{options_.batch * options_.seq};
    return {models::upload(device_, shape, DType::i64, host.ids, "ids"),
            models::upload(device_, shape, DType::i64, host.next, "next")};
  }
  Tensor forward(const Batch& batch) override {
    Tensor x;
    {
      ModuleScope scope("embedding");
      x = ops::embedding(batch.ids, table_);
    }
    const Tensor logits = head_(x);
    PhaseScope phase(Phase::loss);
    ModuleScope scope("loss");
    return ops::cross_entropy(logits, batch.next, ops::Reduction::mean);
  }

 private:
  Sizes sizes_;
  ParameterSet parameters_;
  Tensor table_;  // [symbols, width]
  Linear head_;
};

}  // namespace

const Family& bigram_family() {
  static const Family family{
      .name = "bigram",
      .help = "the next symbol from this one, on sequences it makes up",
      .presets_help = "demo, tiny",
      .published = "demo",
      .item = "symbols",
      .seq_help = "symbols per sequence",
      .dropout = false,
      .settings = {setting("--stride", &BigramOptions::stride, "Symbol s is followed by stride * s + 1")},
      .preset_names =
          [] {
            return std::vector<std::string>{"demo", "tiny"};
          },
      .step_sizes =
          [](const std::string&) { return StepSizes{.batch = 8, .seq = 32, .steps = 60, .lr = 3e-2}; },
      .make_task = [](const RunOptions& o, Device& device, bool with_data,
                      int64_t first_batch) -> std::unique_ptr<TrainTask> {
        return std::make_unique<BigramTask>(o, device, with_data, first_batch);
      },
      .parameters =
          [](const RunOptions& o) {
            const Sizes s = sizes_of(o.preset);
            return ParameterFormula{.all = 2 * s.symbols * s.width + s.symbols, .parts = ""};
          }};
  return family;
}

}  // namespace reckon::models
