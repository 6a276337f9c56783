// Closed forms of what a Qwen decoder holds in memory, and its share on one device of a tensor-parallel group.
// Called by `reckon explain model` through the family, beside dry runs of the same.
#pragma once

#include "models/qwen/config.h"
#include "models/train/family.h"

namespace reckon::models {

// Bytes a plain f32 step keeps for backward at its fullest; none for settings without a closed form.
std::optional<Exact> qwen_saved_bytes(const RunOptions& options);

// 2 L S K D numbers per sequence.
Exact kv_cache_bytes(const QwenConfig& config, int64_t batch, int64_t seq, DType dtype);

// The sizes one device of a tensor-parallel group holds; Error names what does not divide.
QwenConfig tensor_parallel_config(const QwenConfig& config, int64_t devices);

DecoderForms qwen_decoder_forms();

}  // namespace reckon::models
