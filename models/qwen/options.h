// What a run of the Qwen family is asked for beside RunOptions: where its sizes, weights and tokens come from,
// and adapters. Kept in RunOptions::own<QwenOptions>().
#pragma once

#include <optional>
#include <string>

#include "models/qwen/config.h"
#include "models/qwen/lora.h"
#include "models/train/options.h"

namespace reckon::models {

struct QwenOptions {
  std::string config;               // a config.json
  std::optional<QwenConfig> sizes;  // made up by a caller; win over preset and config
  std::string model_dir;            // a Hugging Face folder: config, weights, tokenizer; wins over all
  std::optional<LoraOptions> lora;  // train adapters, leave every other weight as it is
  std::string tokenizer;  // bytes, a tokenizer.json or a folder with one; empty: model_dir's, else bytes
  std::string cache_dir = ".reckon-cache";  // token files
};

// A config.json, or the name of a preset: what --config takes.
void read_config_flag(RunOptions& options, const std::string& text);
// The sizes of a run, wherever they come from.
QwenConfig qwen_config(const RunOptions& options);

}  // namespace reckon::models
