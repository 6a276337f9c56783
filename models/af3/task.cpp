// Training of the AF3-shaped model on made-up chains.
#include <utility>

#include "autograd/engine.h"
#include "models/af3/model.h"
#include "models/train/batched_task.h"
#include "runtime/core/format.h"

namespace reckon::models::af3 {
namespace {

// A batch is the number of an example, which is made on its way to the device.
class Task : public BatchedTask<int64_t, Example> {
 public:
  Task(const RunOptions& o, Device& device, bool with_data, int64_t first_batch)
      : BatchedTask(o, device, first_batch),
        step_(o.own<StepOptions>()),
        with_values_(with_data && device.executes()) {
    RECKON_CHECK(o.data.empty(),
                 "af3 trains on chains it makes up itself (--seed chooses them): leave out --data");
    model_ = std::make_unique<Model>(device, Config::preset(o.preset), o.seed);
  }

  const ParameterSet& parameters() const override { return model_->parameters(); }
  int64_t items_per_batch() const override { return step_.tokens; }

  void backward(const Tensor& loss) override {
    Model::Loss left = std::exchange(pending_, {});
    left.roots[0] = loss;  // scaled, when there are no further roots
    left.value = {};
    autograd::backward(left.roots, left.seeds);
  }

  std::string describe() const override {
    const Config& c = model_->config();
    const StepOptions& s = step_;
    return fmt::format(
        "{}: {} Pairformer blocks, {} token layers, c_s {}, c_z {}: {} parameters; {} tokens x {} atoms, {} "
        "MSA rows, {} "
        "templates, {} recycles, {} augmentations in chunks of {}{}{}",
        c.name, c.pairformer_blocks, c.token_layers, c.c_s, c.c_z, format_count(parameters().n_elements()),
        s.tokens, s.atoms_per_token, s.msa_rows, s.templates, s.recycles, s.augmentations, s.chunk,
        s.rollout ? fmt::format(", rollout of {} calls", c.rollout_calls()) : "",
        s.hoist_conditioner ? ", conditioner hoisted" : "");
  }

 protected:
  int64_t batch_without_data(int64_t number) const override { return number; }
  Example upload(const int64_t& number) const override {
    return make_example(device_, model_->config(), step_, options_.seed, static_cast<uint64_t>(number),
                        with_values_);
  }
  Tensor forward(const Example& e) override {
    pending_ = {};  // what a step that raised left behind
    pending_ = model_->loss(e, step_, options_.dtype, options_.dropout);
    return pending_.value;
  }

 private:
  StepOptions step_;
  bool with_values_;
  Model::Loss pending_;
  std::unique_ptr<Model> model_;
};

}  // namespace

std::unique_ptr<TrainTask> make_task(const RunOptions& o, Device& device, bool with_data, int64_t first_batch) {
  return std::make_unique<Task>(o, device, with_data, first_batch);
}

}  // namespace reckon::models::af3
