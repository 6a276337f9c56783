#include "models/train/options.h"

#include <algorithm>

#include "runtime/core/error.h"

namespace reckon::models {

Family family_from_name(std::string_view name) {
  for (Family f : kFamilies)
    if (name == name_of(f)) return f;
  raise_error(fmt::format("unknown model '{}': expected qwen, evoformer, pairformer or af3", name));
}

std::string_view name_of(Family f) {
  switch (f) {
    case Family::qwen:
      return "qwen";
    case Family::evoformer:
      return "evoformer";
    case Family::pairformer:
      return "pairformer";
    case Family::af3:
      return "af3";
  }
  raise_error(fmt::format("family {} has no name", static_cast<int>(f)));
}

void RunOptions::resolve() {
  const bool full_size = preset != "demo" && preset != "tiny" && preset != "tiny3";
  const double first_lr = model_dir.empty() ? 3e-3 : lora ? 2e-4 : 1e-5;
  RECKON_CHECK(family == Family::qwen || (model_dir.empty() && !lora),
               "--model and --lora are for qwen, not for {}", name_of(family));
  RECKON_CHECK(weights.empty() || family != Family::qwen,
               "--weights is for blocks of evoformer and pairformer; qwen reads a folder with --model");
  RECKON_CHECK(weights_prefix.empty() || !weights.empty(),
               "--weights-prefix names a stack inside the --weights file, which is missing");
  RECKON_CHECK(model_dir.empty() || config.empty(), "--model brings its own config.json: leave out --config");
  if (tokenizer.empty()) tokenizer = model_dir.empty() ? "bytes" : model_dir;
  if (lora) lora->seed = seed;
  const auto open = [](auto& value, auto fallback) {
    if (value == 0) value = fallback;
  };
  if (family == Family::qwen) {
    open(batch, full_size ? int64_t{1} : (preset == "demo" ? int64_t{8} : int64_t{2}));
    open(seq, full_size ? int64_t{2048} : (preset == "demo" ? int64_t{128} : int64_t{16}));
    open(steps, int64_t{60});
    open(lr, first_lr);
  } else if (family == Family::pairformer) {
    open(batch, full_size ? int64_t{1} : (preset == "demo" ? int64_t{4} : int64_t{2}));
    open(seq, full_size ? int64_t{384} : (preset == "demo" ? int64_t{32} : int64_t{10}));
    open(steps, int64_t{40});
    open(lr, preset == "tiny" ? 1e-2 : 3e-3);
  } else if (family == Family::af3) {
    open(batch, int64_t{1});
    RECKON_CHECK(
        batch == 1,
        "af3 trains one crop at a time, as public code does: --batch must be 1, got {} (use --accumulate)",
        batch);
    RECKON_CHECK(!low_residual, "af3 keeps its residual streams in f32: leave out --residual low");
    if (seq > 0) af3.tokens = seq;
    if (rows > 0) af3.msa_rows = rows;
    af3.resolve(af3::Config::preset(preset));
    seq = af3.tokens;
    rows = af3.msa_rows;
    RECKON_CHECK(!af3.backward_per_chunk || (accumulate == 1 && dtype != DType::f16),
                 "--backward-per-chunk makes gradients before the loss is scaled: it needs --accumulate 1 and "
                 "no --dtype f16");
    open(steps, int64_t{40});
    open(lr, preset == "tiny" ? 5e-3 : preset == "demo" ? 2e-3 : 1e-4);
  } else {
    open(batch, int64_t{1});
    open(seq, full_size ? int64_t{256} : (preset == "demo" ? int64_t{32} : int64_t{10}));
    open(rows, full_size ? int64_t{128} : (preset == "demo" ? int64_t{32} : int64_t{6}));
    open(steps, int64_t{20});
    open(lr, 1e-2);
  }
  if (warmup < 0) warmup = std::min<int64_t>(100, steps / 10);
  optimizer.scale_loss = dtype == DType::f16;
  const auto within = [](const char* what, int64_t v, int64_t low, int64_t high) {
    RECKON_CHECK(v >= low && v <= high, "{} must be between {} and {}, got {}", what, low, high, v);
  };
  within("--batch", batch, 1, int64_t{1} << 24);
  within("--seq", seq, 1, int64_t{1} << 24);
  if (family == Family::evoformer || family == Family::af3)
    within("--rows", rows, 1, int64_t{1} << 24);
  else
    RECKON_CHECK(rows == 0, "--rows is for evoformer and af3; the number of sequences of {} is --batch",
                 name_of(family));
  within("--steps", steps, 1, int64_t{1} << 31);
  within("--accumulate", accumulate, 1, 1 << 20);
  within("--warmup", warmup, 0, int64_t{1} << 31);
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

std::vector<std::pair<std::string, std::string>> RunOptions::describe() const {
  std::vector<std::pair<std::string, std::string>> out{
      {"model", std::string(name_of(family))},
      {"preset", !model_dir.empty() ? model_dir
                 : qwen_sizes       ? qwen_sizes->name
                 : config.empty()   ? preset
                                    : config},
      {"data", data},
      {"device", std::string(reckon::name_of(device))},
      {"dtype", std::string(reckon::name_of(dtype))},
      {"checkpoint", std::string(autograd::name_of(checkpoint))},
      {"fuse", fuse.to_string()},
      {"batch", std::to_string(batch)},
      {"seq", std::to_string(seq)}};
  if (family == Family::evoformer || family == Family::af3) out.emplace_back("rows", std::to_string(rows));
  if (family == Family::af3) {
    out.emplace_back("diffusion_dtype", std::string(reckon::name_of(af3.diffusion_dtype)));
    out.emplace_back("head_dtype", std::string(reckon::name_of(af3.head_dtype)));
    for (const auto& [k, v] : {std::pair{"atoms_per_token", af3.atoms_per_token},
                               {"templates", af3.templates},
                               {"recycles", af3.recycles},
                               {"augmentations", af3.augmentations},
                               {"chunk", af3.chunk}})
      out.emplace_back(k, std::to_string(v));
    for (const auto& [k, v] : {std::pair{"confidence", af3.confidence},
                               {"rollout", af3.rollout},
                               {"hoist_conditioner", af3.hoist_conditioner},
                               {"backward_per_chunk", af3.backward_per_chunk}})
      out.emplace_back(k, v ? "on" : "off");
  }
  if (family != Family::qwen) out.emplace_back("dropout", dropout ? "on" : "off");
  if (lora) out.emplace_back("lora", lora->to_string());
  if (low_residual) out.emplace_back("residual", "low");
  if (!weights.empty()) out.emplace_back("weights", weights);
  for (auto& [k, v] : std::initializer_list<std::pair<const char*, std::string>>{
           {"steps", std::to_string(steps)},
           {"accumulate", std::to_string(accumulate)},
           {"optimizer", std::string(name_of(optimizer.kind))},
           {"lr", fmt::format("{}", lr)},
           {"schedule", std::string(Schedule::name_of(schedule))},
           {"warmup", std::to_string(warmup)},
           {"weight_decay", fmt::format("{}", optimizer.weight_decay)},
           {"clip", fmt::format("{}", optimizer.clip)},
           {"seed", std::to_string(seed)}})
    out.emplace_back(k, v);
  return out;
}

}  // namespace reckon::models
