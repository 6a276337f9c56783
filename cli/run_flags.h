// The flags every command that runs a model shares, and their translation into RunOptions.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "models/train/options.h"
#include "profiler/books.h"
#include "runtime/device.h"

namespace reckon::cli {

struct RunFlags {
  std::string family, preset = "demo", config, model, weights, weights_prefix, lora, data, tokenizer,
                      cache = ".reckon-cache";
  std::string device = "cpu", dtype = "f32", residual = "f32", checkpoint = "none", fuse = "none";
  std::string schedule = "cosine", optimizer = "adamw", spec, memory_limit = "0";
  int64_t batch = 0, seq = 0, rows = 0, steps = 0, accumulate = 1, warmup = -1;
  double lr = 0, weight_decay = 0.01, clip = 1.0;
  uint64_t seed = 1;
  int threads = 0;
  bool check_nan = false, no_dropout = false;
  models::af3::StepOptions af3;
  std::string diffusion_dtype = "f32", head_dtype = "f32";
  bool no_confidence = false;

  // `default_steps` is used when --steps was not given.
  models::RunOptions resolve(int64_t default_steps) const;
  DeviceSpec device_spec() const;
  std::unique_ptr<Device> make_device(DeviceKind kind, std::unique_ptr<Backend> opened = nullptr) const;
};

// Adds MODEL and the flags. `with_data`: --data and what belongs to it.
void add_run_flags(CLI::App& app, RunFlags& flags, bool with_data);

profiler::RunConfig run_config(const models::RunOptions& options, const DeviceSpec& spec);

// "512MiB", "2G", "1e9"; 0 is none. Error names the text and the forms that are understood.
size_t parse_bytes(const std::string& text, const char* flag);

}  // namespace reckon::cli
