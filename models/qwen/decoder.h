// Continues token sequences with a Qwen model and a key/value cache: the prompt in one pass, then one token of
// every sequence per pass. Each pass is a step of the ledger. Called by `reckon generate`.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "models/qwen/qwen.h"
#include "models/qwen/sampling.h"

namespace reckon::models {

struct DecodeOptions {
  int64_t max_new_tokens = 64;
  SamplingOptions sampling;
  std::vector<int64_t> stop_ids;  // a sequence ends with the first of these (kept in the result)
  int64_t n_ids = 0;              // only ids below this are chosen; 0: the model's vocabulary
  DType cache_dtype = DType::f32;
};

struct DecodeResult {
  std::vector<std::vector<int64_t>> new_ids;  // of each sequence
  int64_t cache_capacity = 0, cache_bytes = 0;
  double prefill_seconds = 0, decode_seconds = 0;
  int64_t n_decode_steps = 0;
};

// After each step: the id every sequence got; nothing for one that has ended.
using TokensReady = std::function<void(std::span<const std::optional<int64_t>> ids)>;

// `sequences` copies of the prompt, told apart by their random draws. Stops when all have ended or
// max_new_tokens are there. Without values (meta) every id is 0 and nothing ends early. Error when the prompt
// is empty, or holds an id the model has not.
DecodeResult decode(const Qwen& model, Device& device, std::span<const int64_t> prompt, int64_t sequences,
                    const DecodeOptions& options, const TokensReady& ready = {});

}  // namespace reckon::models
