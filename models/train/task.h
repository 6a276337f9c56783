// What a training run needs of a model and its data: parameters, and the loss of the next batch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "models/nn/parameters.h"
#include "models/train/options.h"

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
  virtual std::string item_name() const = 0;    // "tokens"
  // Writes the model as a Hugging Face folder; Error where the family has no such form.
  virtual void export_folder(const std::filesystem::path& folder, DType dtype) const = 0;
  virtual std::string describe() const = 0;  // one line: model, sizes, data
  std::string loaded;                        // one line on weights that were read, empty when none
};

// Builds model and data for the options on a device. Without data (plan), batches of zeros of the same shape.
std::unique_ptr<TrainTask> make_task(const RunOptions& options, Device& device, bool with_data,
                                     int64_t first_batch);

std::unique_ptr<TrainTask> make_qwen_task(const RunOptions& options, Device& device, bool with_data,
                                          int64_t first_batch);
std::unique_ptr<TrainTask> make_evoformer_task(const RunOptions& options, Device& device, bool with_data,
                                               int64_t first_batch);
std::unique_ptr<TrainTask> make_pairformer_task(const RunOptions& options, Device& device, bool with_data,
                                                int64_t first_batch);
std::unique_ptr<TrainTask> make_af3_task(const RunOptions& options, Device& device, bool with_data,
                                         int64_t first_batch);

}  // namespace reckon::models
