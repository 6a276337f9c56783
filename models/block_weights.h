// Weights of Evoformer and Pairformer blocks from a safetensors file under the names of OpenFold, Protenix or
// Boltz (block_names.h). Called when a training task is built with --weights.
#pragma once

#include <filesystem>
#include <string>

#include "models/nn/parameters.h"

namespace reckon::models {

struct BlockWeightsOptions {
  std::filesystem::path file;
  // The file's path to the stack, "evoformer.blocks" or "pairformer_module.layers";
  // empty: the only one that fits.
  std::string prefix;
};

struct LoadedBlocks {
  std::string code, prefix;  // "OpenFold", "evoformer.blocks"
  int64_t n_tensors = 0;     // of the file, each used
};

// Fills every parameter "blocks.N. ..." (f32); the others keep what they have. Stored f32, bf16, f16 and
// f64 are understood; a joint projection of a and b is split where the model has two. Without values
// (meta) names, shapes and types are checked. Error when no stack of the file fits, saying what the
// nearest lacks, and when several do.
LoadedBlocks load_block_weights(const BlockWeightsOptions& options, const ParameterSet& parameters);

}  // namespace reckon::models
