#include "cli/run_flags.h"

#include <algorithm>

#include "cli/devices.h"
#include "cli/typed_flags.h"
#include "models/train/family.h"
#include "runtime/core/error.h"
#include "runtime/cpu/isa.h"
#include "runtime/cpu/threads.h"

namespace reckon::cli {
namespace {

using models::Family;
using models::FamilySetting;
using models::RunOptions;

// "qwen: tokens per sequence; evoformer, pairformer: residues of the crop": what each family says, those that
// say the same together.
std::string by_family(const std::string Family::*text) {
  std::vector<std::pair<std::string, std::string>> said;  // text, families
  for (const Family* f : models::all_families()) {
    if ((f->*text).empty()) continue;
    const auto same =
        std::find_if(said.begin(), said.end(), [&](const auto& s) { return s.first == f->*text; });
    if (same == said.end())
      said.emplace_back(f->*text, f->name);
    else
      same->second += ", " + f->name;
  }
  std::string out;
  for (const auto& [what, families] : said)
    out += fmt::format("{}{}: {}", out.empty() ? "" : "; ", families, what);
  return out;
}

// "evoformer, pairformer: "
std::string whose(const std::function<bool(const Family&)>& has) {
  return models::families_that(has, ", ") + ": ";
}

const FamilySetting* find_setting(const Family& f, const std::string& flag) {
  for (const FamilySetting& s : f.settings)
    if (s.flag == flag) return &s;
  return nullptr;
}

void apply(RunOptions& o, const Family& f, const std::string& flag, const std::string& text) {
  const FamilySetting* s = find_setting(f, flag);
  RECKON_CHECK(s, "{} is for {}, not for {}", flag,
               models::families_that([&](const Family& of) { return find_setting(of, flag); }), f.name);
  s->set(o, text);
}

// What may stand after a switch's `=`; an Error of the parser for the rest.
std::string switch_value(std::string& text) {
  try {
    CLI::detail::to_flag_value(text);
    return "";
  } catch (const std::exception&) {
    return fmt::format("expected true or false, got '{}'", text);
  }
}

void add_family_settings(CLI::App& app, RunFlags& r, bool with_data) {
  const RunOptions untouched;
  for (const Family* f : models::all_families())
    for (const FamilySetting& s : f->settings) {
      if (app.get_option_no_throw(s.flag) || (s.group == models::kDataGroup && !with_data)) continue;
      const std::string help =
          s.group.starts_with(f->name)
              ? s.help
              : whose([&](const Family& of) { return find_setting(of, s.flag) != nullptr; }) + s.help;
      const auto keep = [&r, flag = s.flag](const std::string& text) {
        r.family_settings.emplace_back(flag, text);
      };
      CLI::Option* option;
      if (s.takes == models::FamilySetting::Takes::nothing) {
        option = app.add_flag_function(
            s.flag, [keep](int64_t on) { keep(on > 0 ? "" : "false"); }, help);
        option->check(CLI::Validator(switch_value, "", ""));
      } else {
        option = s.takes == models::FamilySetting::Takes::whole_number
                     ? app.add_option_function<int64_t>(
                           s.flag, [keep](int64_t value) { keep(std::to_string(value)); }, help)
                     : app.add_option_function<std::string>(s.flag, keep, help);
        const std::string initial = s.show(untouched);
        if (initial != "0") option->default_str(initial);  // 0: the preset's
      }
      option->group(s.group);
      for (const std::string& other : s.excludes) option->excludes(app.get_option(other));
    }
}

void add_sizes(CLI::App& app, RunOptions& o) {
  const auto add = [&app](const char* flag, auto& value, const std::string& help) {
    app.add_option(flag, value, help)->group(models::kSizesGroup);
  };
  app.add_option("--preset", o.preset, "Model sizes. " + by_family(&Family::presets_help))
      ->capture_default_str()
      ->group(models::kSizesGroup);
  const std::string blocks = whose([](const Family& f) { return f.block_weights; });
  add("--weights", o.weights,
      blocks + "safetensors file with the blocks under the names of OpenFold, Protenix or Boltz");
  add("--weights-prefix", o.weights_prefix,
      "Path to the stack inside --weights, such as evoformer.blocks; needed when several fit");
  add("--batch", o.batch, "Sequences per micro-batch (evoformer: crops); 0: the preset's");
  add("--seq,--tokens", o.seq, by_family(&Family::seq_help) + "; 0: the preset's");
  add("--rows,--msa-rows", o.rows, by_family(&Family::rows_help) + "; 0: the preset's");
}

void add_toggles(CLI::App& app, RunFlags& r) {
  auto* group = "Toggles (what changes memory)";
  RunOptions& o = r.options;
  add_device(app, o.device,
             "cpu: run; cuda: run on an NVIDIA GPU; meta: the same code without data, event for event")
      ->group(group);
  add_dtype(
      app, "--dtype", o.dtype,
      "f32; bf16 or f16: matrix products in that type, parameters and norms in f32 (f16 with loss scaling)")
      ->group(group);
  add_residual(
      app, o.low_residual,
      "With --dtype bf16 or f16: residual streams in f32, or low: in that type (half the bytes between "
      "blocks, one rounding per branch)")
      ->group(group);
  add_checkpoint(app, o.checkpoint,
                 "What backward recomputes. none: nothing; selective: outputs of cheap ops (norms, gates, "
                 "activations, casts); sublayer: each residual branch; block: each block")
      ->group(group);
  add_fuse(app, o.fuse)->group(group);
  add_memory_limit(app, r.machine.limits.memory_limit_bytes)->group(group);
  app.add_flag("--check-nan", r.machine.limits.check_finite,
               "Stop at the first op that makes NaN or infinity and name it (reads every output)")
      ->group(group);
  add_spec_and_threads(app, r.machine, group);
}

void add_training(CLI::App& app, RunOptions& o) {
  const auto add = [&app](const char* flag, auto& value, const std::string& help) {
    return app.add_option(flag, value, help)->group(models::kTrainingGroup);
  };
  add("--steps", o.steps, "Optimizer steps; 0: the preset's");
  add("--accumulate", o.accumulate, "Micro-batches per optimizer step")->capture_default_str();
  add_parsed(app, "--optimizer", o.optimizer.kind, models::optimizer_from_name, name_of(o.optimizer.kind),
             "adamw or sgd (momentum 0.9)")
      ->group(models::kTrainingGroup);
  add("--lr", o.lr, "Peak learning rate; 0: the preset's, with --model 1e-5 (adapters 2e-4)");
  add_parsed(app, "--schedule", o.schedule, models::Schedule::kind_from_name,
             models::Schedule::name_of(o.schedule),
             "After warm-up: constant, linear or cosine (to 0 at the last step)")
      ->group(models::kTrainingGroup);
  add("--warmup", o.warmup, "Warm-up steps; -1: a tenth of the steps")->capture_default_str();
  add("--weight-decay", o.optimizer.weight_decay, "Decoupled weight decay")->capture_default_str();
  add("--clip", o.optimizer.clip, "Largest gradient norm; 0: no clipping")->capture_default_str();
  add("--seed", o.seed, "Seed of initial weights, data order and dropout")->capture_default_str();
  app.add_flag_callback(
         "--no-dropout", [&o] { o.dropout = false; },
         whose([](const Family& f) { return f.dropout; }) + "train without dropout")
      ->group(models::kTrainingGroup);
}

}  // namespace

DeviceSpec MachineFlags::device_spec(DeviceKind kind) const {
  if (threads != 0) set_cpu_threads(threads);
  return spec_from_flags(spec, kind);
}

std::unique_ptr<Device> MachineFlags::make_device(DeviceKind kind, std::unique_ptr<Backend> opened) const {
  return open_device(kind, device_spec(kind), limits, std::move(opened));
}

models::RunOptions RunFlags::resolved(int64_t default_steps) const {
  RunOptions o = options;
  const Family& family = models::family_named(o.family);
  for (const auto& [flag, text] : family_settings) apply(o, family, flag, text);
  RECKON_CHECK(o.steps >= 0 && o.batch >= 0 && o.seq >= 0 && o.rows >= 0,
               "--steps, --batch, --seq and --rows must be positive");
  if (o.steps == 0) o.steps = default_steps;
  o.resolve();
  return o;
}

void add_spec_and_threads(CLI::App& app, MachineFlags& machine, const char* group) {
  app.add_option("--spec", machine.spec, spec_help())->group(group);
  app.add_option("--threads", machine.threads, "CPU threads; 0: all this process may use")
      ->capture_default_str()
      ->group(group);
}

void add_run_flags(CLI::App& app, RunFlags& r, bool with_data) {
  app.add_option("MODEL", r.options.family, by_family(&Family::help))->required();
  add_sizes(app, r.options);
  add_toggles(app, r);
  add_training(app, r.options);
  if (with_data)
    app.add_option("--data", r.options.data, by_family(&Family::data_help))->group(models::kDataGroup);
  add_family_settings(app, r, with_data);
}

profiler::RunConfig run_config(const models::RunOptions& options, const DeviceSpec& spec) {
  profiler::RunConfig c;
  for (const models::SettingLine& line : options.describe()) c.set(line.name, line.value);
  if (spec.kind == DeviceKind::cuda) {
    c.set("compute capability",
          fmt::format("{}.{}", spec.compute_capability / 10, spec.compute_capability % 10));
    c.set("multiprocessors", std::to_string(spec.multiprocessors));
  } else {
    c.set("threads", std::to_string(spec.threads));
    c.set("isa", std::string(name_of(static_cast<IsaLevel>(spec.isa_level))));
  }
  c.set("spec", spec.name);
  return c;
}

}  // namespace reckon::cli
