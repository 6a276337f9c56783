// A training task whose batches are numbered: made ahead on the host where there is data, in order, uploaded
// in phase data, and run through the model. A family's task says what a batch is, how it reaches
// the device and what its loss is.
#pragma once

#include <functional>
#include <optional>
#include <utility>

#include "models/data/prefetcher.h"
#include "models/train/options.h"
#include "models/train/task.h"
#include "runtime/device.h"
#include "runtime/events/scope.h"

namespace reckon::models {

// HostBatch: what is read, Inputs: its tensors.
template <class HostBatch, class Inputs>
class BatchedTask : public TrainTask {
 public:
  Tensor loss(int64_t batch) final {
    // A step that raised is taken again: reading ahead starts anew where it is not where it should be.
    if (prefetcher_ && batch != next_) prefetcher_.emplace(produce_, static_cast<uint64_t>(batch));
    next_ = batch + 1;
    Inputs inputs;
    {
      PhaseScope phase(Phase::data);
      ModuleScope scope("data");
      inputs = upload(prefetcher_ ? prefetcher_->next() : batch_without_data(batch));
    }
    PhaseScope phase(Phase::forward);
    return forward(inputs);
  }

 protected:
  BatchedTask(const RunOptions& options, Device& device, int64_t first_batch)
      : options_(options), device_(device), next_(first_batch) {}

  // From here on batches come from `produce`, which another thread calls ahead: it must own what it reads.
  void read_ahead(std::function<HostBatch(uint64_t)> produce) {
    produce_ = std::move(produce);
    prefetcher_.emplace(produce_, static_cast<uint64_t>(next_));
  }

  virtual HostBatch batch_without_data(int64_t number) const = 0;  // zeros, of the same shape
  virtual Inputs upload(const HostBatch& batch) const = 0;
  virtual Tensor forward(const Inputs& inputs) = 0;

  RunOptions options_;
  Device& device_;

 private:
  int64_t next_;
  std::function<HostBatch(uint64_t)> produce_;
  std::optional<data::Prefetcher<HostBatch>> prefetcher_;
};

}  // namespace reckon::models
