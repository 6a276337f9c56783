// Everything a run can be asked for. Printable, so that two runs can be compared by what they were asked. What
// only one family understands is in a struct of that family's, behind own().
#pragma once

#include <any>
#include <cstdint>
#include <string>
#include <vector>

#include "autograd/fusion.h"
#include "autograd/grad_mode.h"
#include "models/train/optimizer.h"
#include "models/train/schedule.h"
#include "runtime/core/dtype.h"
#include "runtime/device_spec.h"

namespace reckon::models {

// One line of what a run was asked, as `reckon compare` lists it.
struct SettingLine {
  std::string name, value;
  bool binding = true;  // a continued run must share it, or it would not be the run it continues
};

class RunOptions {
 public:
  std::string family;           // a registered one (models/train/family.h)
  std::string preset = "demo";  // sizes; resolve() puts the name of what a family reads them from instead here
  std::string data;             // text file or folder; alignment
  std::string weights, weights_prefix;  // safetensors with a stack's blocks, and its path to them
  DeviceKind device = DeviceKind::cpu;
  DType dtype = DType::f32;
  bool low_residual = false;  // bf16, f16: the residual streams in that type too
  autograd::CheckpointPolicy checkpoint = autograd::CheckpointPolicy::none;
  autograd::FusionSet fuse;
  int64_t batch = 0, seq = 0;  // seq: tokens, or residues of the crop; 0: the preset's
  int64_t rows = 0;            // alignment rows of the crop; 0: the preset's
  int64_t steps = 0, accumulate = 1;
  int64_t warmup = -1;  // -1: a tenth of the steps, at most 100
  Schedule::Kind schedule = Schedule::Kind::cosine;
  double lr = 0;  // 0: the preset's
  OptimizerOptions optimizer;
  uint64_t seed = 1;
  bool dropout = true;

  // The settings of the family that owns type T; they start as T{}.
  template <class T>
  T& own() {
    if (std::any_cast<T>(&own_) == nullptr) own_ = T{};
    return *std::any_cast<T>(&own_);
  }
  template <class T>
  const T& own() const {
    static const T untouched{};
    const T* held = std::any_cast<T>(&own_);
    return held ? *held : untouched;
  }

  // Fills in what was left open and checks what cannot work (Error).
  void resolve();
  // In order, as `reckon compare` lists them.
  std::vector<SettingLine> describe() const;

 private:
  std::any own_;
};

}  // namespace reckon::models
