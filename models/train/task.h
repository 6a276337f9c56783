// What a training run needs of a model and its data: parameters, and the loss of the next batch. Made by the
// families, called by the trainer; batched_task.h holds what most tasks share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "models/nn/parameters.h"
#include "runtime/core/dtype.h"

namespace reckon::models {

class TrainTask {
 public:
  virtual ~TrainTask() = default;
  virtual const ParameterSet& parameters() const = 0;
  // Uploads batch number `batch` (phase data) and runs forward and loss on it.
  virtual Tensor loss(int64_t batch) = 0;
  // Gradients of what `loss` returned, after the trainer scaled it.
  virtual void backward(const Tensor& loss);
  virtual int64_t items_per_batch() const = 0;  // tokens, or residues
  // Writes the model as a Hugging Face folder; Error where the family has no such form.
  virtual void export_folder(const std::filesystem::path& folder, DType dtype) const;
  virtual std::string describe() const = 0;  // one line: model, sizes, data
  std::string loaded;                        // one line on weights that were read, empty when none
};

}  // namespace reckon::models
