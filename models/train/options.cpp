#include "models/train/options.h"

#include <algorithm>

#include "models/train/family.h"
#include "runtime/core/error.h"

namespace reckon::models {
namespace {

void check_within(const char* what, int64_t v, int64_t low, int64_t high) {
  RECKON_CHECK(v >= low && v <= high, "{} must be between {} and {}, got {}", what, low, high, v);
}

template <class T>
void fill(T& value, T fallback) {
  if (value == 0) value = fallback;
}

// Largest extents and counts that are still meant seriously.
constexpr int64_t kMostExtent = int64_t{1} << 24, kMostSteps = int64_t{1} << 31, kMostMicroBatches = 1 << 20;
constexpr int64_t kLongestWarmup = 100;

}  // namespace

void RunOptions::resolve() {
  const Family& f = family_named(family);
  const auto has_rows = [](const Family& of) { return !of.rows_help.empty(); };
  const auto has_blocks = [](const Family& of) { return of.block_weights; };
  RECKON_CHECK(weights.empty() || f.block_weights, "--weights is for blocks of {}, not for {}{}",
               families_that(has_blocks, " and "), family,
               f.exports_folder ? ", which reads a folder with --model" : "");
  RECKON_CHECK(weights_prefix.empty() || !weights.empty(),
               "--weights-prefix names a stack inside the --weights file, which is missing");
  if (f.resolve) f.resolve(*this);
  const StepSizes sizes = f.step_sizes(preset);
  fill(batch, sizes.batch);
  fill(seq, sizes.seq);
  fill(rows, sizes.rows);
  fill(steps, sizes.steps);
  fill(lr, sizes.lr);
  if (warmup < 0) warmup = std::min<int64_t>(kLongestWarmup, steps / 10);
  optimizer.scale_loss = dtype == DType::f16;
  check_within("--batch", batch, 1, kMostExtent);
  check_within("--seq", seq, 1, kMostExtent);
  if (has_rows(f))
    check_within("--rows", rows, 1, kMostExtent);
  else
    RECKON_CHECK(rows == 0, "--rows is for {}; the number of sequences of {} is --batch",
                 families_that(has_rows, " and "), family);
  check_within("--steps", steps, 1, kMostSteps);
  check_within("--accumulate", accumulate, 1, kMostMicroBatches);
  check_within("--warmup", warmup, 0, kMostSteps);
  RECKON_CHECK(lr > 0 && lr < 1e3, "--lr must be positive and below 1000, got {}", lr);
  RECKON_CHECK(
      !low_residual || dtype != DType::f32,
      "--residual low keeps the residual streams in the type of --dtype, which must then be bf16 or f16");
  RECKON_CHECK(optimizer.clip >= 0, "--clip must be 0 (off) or positive, got {}", optimizer.clip);
  RECKON_CHECK(optimizer.weight_decay >= 0, "--weight-decay must not be negative, got {}",
               optimizer.weight_decay);
  RECKON_CHECK(dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16,
               "--dtype must be f32, bf16 or f16, got {}", reckon::name_of(dtype));
}

std::vector<SettingLine> RunOptions::describe() const {
  const Family& f = family_named(family);
  std::vector<SettingLine> out;
  const auto add = [&](const char* name, auto value, bool binding = true) {
    out.push_back({name, fmt::format("{}", value), binding});
  };
  constexpr bool kMayChange = false;
  add("model", family);
  add("preset", preset);
  add("data", data, kMayChange);
  add("device", reckon::name_of(device), kMayChange);
  add("dtype", reckon::name_of(dtype));
  add("checkpoint", autograd::name_of(checkpoint), kMayChange);
  add("fuse", fuse.to_string(), kMayChange);
  add("batch", batch);
  add("seq", seq);
  if (!f.rows_help.empty()) add("rows", rows);
  for (const FamilySetting& s : f.settings) {
    const std::string value = s.listed ? s.show(*this) : "";
    if (!value.empty()) add(s.name().c_str(), value, s.binding);
  }
  if (f.dropout) add("dropout", dropout ? "on" : "off");
  if (low_residual) add("residual", "low", kMayChange);
  if (!weights.empty()) add("weights", weights, kMayChange);
  add("steps", steps);
  add("accumulate", accumulate);
  add("optimizer", name_of(optimizer.kind));
  add("lr", lr);
  add("schedule", Schedule::name_of(schedule));
  add("warmup", warmup);
  add("weight_decay", optimizer.weight_decay);
  add("clip", optimizer.clip);
  add("seed", seed);
  return out;
}

}  // namespace reckon::models
