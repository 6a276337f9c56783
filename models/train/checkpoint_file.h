// A training state on disk: parameters, optimizer state, the number of steps done and what the run was, as one
// safetensors file that appears whole or not at all.
#pragma once

#include <filesystem>

#include "models/train/optimizer.h"
#include "models/train/options.h"

namespace reckon::models {

// Only trained parameters are stored: of a LoRA run the adapters and a fingerprint of the weights they stand
// beside. `steps_done` optimizer steps are in the tensors.
void save_checkpoint(const std::filesystem::path& path, const RunOptions& options,
                     const ParameterSet& parameters, Optimizer& optimizer, int64_t steps_done);

// Fills parameters and optimizer state in place and returns the steps done. Error, naming tensor or
// setting, when the file does not fit the run: model sizes, optimizer, precision, batch, data order and
// schedule must be those it was saved with.
int64_t load_checkpoint(const std::filesystem::path& path, const RunOptions& options,
                        const ParameterSet& parameters, Optimizer& optimizer);

// Only the number of steps, to place the data stream before the model exists.
int64_t steps_in_checkpoint(const std::filesystem::path& path);

}  // namespace reckon::models
