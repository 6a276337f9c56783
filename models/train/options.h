// Everything a run can be asked for. Printable, so that two runs can be compared by what they were asked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "autograd/fusion.h"
#include "autograd/grad_mode.h"
#include "models/af3/config.h"
#include "models/qwen/config.h"
#include "models/qwen/lora.h"
#include "models/train/optimizer.h"
#include "models/train/schedule.h"
#include "runtime/core/dtype.h"
#include "runtime/device_spec.h"

namespace reckon::models {

enum class Family : uint8_t { qwen, evoformer, pairformer, af3 };
constexpr Family kFamilies[] = {Family::qwen, Family::evoformer, Family::pairformer, Family::af3};
Family family_from_name(std::string_view name);
std::string_view name_of(Family f);

struct RunOptions {
  Family family = Family::qwen;
  std::string preset = "demo";           // sizes; `config` wins when given
  std::string config;                    // qwen: a config.json
  std::optional<QwenConfig> qwen_sizes;  // qwen: sizes a caller made up; win over preset and config
  std::string data;                      // text file or folder; alignment
  std::string model_dir;            // qwen: a Hugging Face folder: config, weights, tokenizer; wins over both
  std::optional<LoraOptions> lora;  // qwen: train adapters, leave every other weight as it is
  std::string weights,
      weights_prefix;     // evoformer, pairformer: safetensors with the blocks, and its path to them
  std::string tokenizer;  // bytes, a tokenizer.json or a folder with one; empty: model_dir's, else bytes
  std::string cache_dir = ".reckon-cache";  // token files
  DeviceKind device = DeviceKind::cpu;
  DType dtype = DType::f32;
  bool low_residual = false;  // bf16, f16: the residual streams in that type too
  autograd::CheckpointPolicy checkpoint = autograd::CheckpointPolicy::none;
  autograd::FusionSet fuse;
  int64_t batch = 0, seq = 0;  // seq: tokens, or residues of the crop; 0: the preset's
  int64_t rows = 0;            // evoformer: alignment rows of the crop; 0: the preset's
  int64_t steps = 0, accumulate = 1;
  int64_t warmup = -1;  // -1: a tenth of the steps, at most 100
  Schedule::Kind schedule = Schedule::Kind::cosine;
  double lr = 0;  // 0: the preset's
  OptimizerOptions optimizer;
  af3::StepOptions af3;  // af3: what a step does
  uint64_t seed = 1;
  bool dropout = true;

  // Fills in what was left open and checks what cannot work (Error).
  void resolve();
  // Ordered names and values, as `reckon compare` lists them.
  std::vector<std::pair<std::string, std::string>> describe() const;
};

}  // namespace reckon::models
