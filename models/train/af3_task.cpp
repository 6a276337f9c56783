// Training of the AF3-shaped model on made-up chains.
#include <utility>

#include "autograd/engine.h"
#include "models/af3/model.h"
#include "models/train/task.h"
#include "runtime/core/format.h"
#include "runtime/events/scope.h"

namespace reckon::models {
namespace {

class Af3Task : public TrainTask {
 public:
  Af3Task(const RunOptions& o, Device& device, bool with_data, int64_t first_batch)
      : options_(o), device_(device), with_data_(with_data), next_(first_batch) {
    RECKON_CHECK(o.config.empty(), "--config is for qwen; the AF3 sizes come from --preset");
    RECKON_CHECK(o.data.empty(),
                 "af3 trains on chains it makes up itself (--seed chooses them): leave out --data");
    model_ = std::make_unique<af3::Model>(device, af3::Config::preset(o.preset), o.seed);
  }

  const ParameterSet& parameters() const override { return model_->parameters(); }

  Tensor loss(int64_t batch) override {
    RECKON_CHECK(batch == next_, "batches come in order: expected number {}, asked for {}", next_, batch);
    ++next_;
    const af3::Example e = af3::make_example(device_, model_->config(), options_.af3, options_.seed,
                                             static_cast<uint64_t>(batch), with_data_ && device_.executes());
    PhaseScope phase(Phase::forward);
    pending_ = model_->loss(e, options_.af3, options_.dtype, options_.dropout);
    return pending_.value;
  }

  void backward(const Tensor& loss) override {
    af3::Model::Loss left = std::exchange(pending_, {});
    left.roots[0] = loss;  // scaled, when there are no further roots
    left.value = {};
    autograd::backward(left.roots, left.seeds);
  }

  int64_t items_per_batch() const override { return options_.af3.tokens; }
  std::string item_name() const override { return "residues"; }
  void export_folder(const std::filesystem::path&, DType) const override {
    raise_error("--export writes a Hugging Face folder, which af3 models have no form for: use --out");
  }
  std::string describe() const override {
    const af3::Config& c = model_->config();
    const af3::StepOptions& s = options_.af3;
    return fmt::format(
        "{}: {} Pairformer blocks, {} token layers, c_s {}, c_z {}: {} parameters; {} tokens x {} atoms, {} "
        "MSA rows, {} "
        "templates, {} recycles, {} augmentations in chunks of {}{}{}",
        c.name, c.pairformer_blocks, c.token_layers, c.c_s, c.c_z, format_count(parameters().n_elements()),
        s.tokens, s.atoms_per_token, s.msa_rows, s.templates, s.recycles, s.augmentations, s.chunk,
        s.rollout ? fmt::format(", rollout of {} calls", c.rollout_calls()) : "",
        s.hoist_conditioner ? ", conditioner hoisted" : "");
  }

 private:
  RunOptions options_;
  Device& device_;
  bool with_data_;
  int64_t next_;
  af3::Model::Loss pending_;
  std::unique_ptr<af3::Model> model_;
};

}  // namespace

std::unique_ptr<TrainTask> make_af3_task(const RunOptions& o, Device& device, bool with_data,
                                         int64_t first_batch) {
  return std::make_unique<Af3Task>(o, device, with_data, first_batch);
}

}  // namespace reckon::models
