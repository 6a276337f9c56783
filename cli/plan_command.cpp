// reckon plan: peak, launches and FLOPs of a training step from a dry run, without data and without weights.
#include <fmt/ranges.h>

#include <chrono>
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/devices.h"
#include "cli/run_flags.h"
#include "models/af3/config.h"
#include "models/evoformer/config.h"
#include "models/pairformer/config.h"
#include "models/qwen/folder.h"
#include "models/train/trainer.h"
#include "profiler/json.h"
#include "profiler/ledger.h"
#include "profiler/report.h"
#include "runtime/core/format.h"
#include "runtime/cpu/threads.h"
#include "runtime/cuda_plugin.h"

namespace reckon::cli {
namespace {

struct PlanFlags : RunFlags {
  std::string json, report = "summary";
};

// What the config alone says, to stand beside the count.
std::string parameter_formula(const models::RunOptions& o, int64_t counted) {
  if (o.family == models::Family::qwen) {
    const auto c = !o.model_dir.empty() ? models::read_folder_config(o.model_dir)
                   : o.config.empty()   ? models::QwenConfig::preset(o.preset)
                                        : models::QwenConfig::from_json_file(o.config);
    return fmt::format("parameters: {} counted{}, {} by formula; {} per layer", format_count(counted),
                       o.lora ? " with adapters" : "", format_count(c.n_parameters()),
                       format_count(c.n_parameters_per_layer()));
  }
  if (o.family == models::Family::pairformer) {
    const auto c = models::PairformerConfig::preset(o.preset);
    return fmt::format("parameters: {} counted, {} by formula; blocks {} ({} per block)", format_count(counted),
                       format_count(c.n_parameters()), format_count(c.n_parameters_of_blocks()),
                       format_count(c.n_parameters_per_block()));
  }
  if (o.family == models::Family::af3)
    return fmt::format("parameters: {} counted, {} by formula", format_count(counted),
                       format_count(models::af3::Config::preset(o.preset).n_parameters()));
  const auto c = models::EvoformerConfig::preset(o.preset);
  return fmt::format("parameters: {} counted; blocks {} by formula ({} per block)", format_count(counted),
                     format_count(c.blocks * c.n_parameters_per_block()),
                     format_count(c.n_parameters_per_block()));
}

// What the plan is for: the hardware of --spec, else this machine's CPU, or with --device cuda its GPU.
DeviceSpec spec_of(const PlanFlags& f) {
  if (f.threads != 0) set_cpu_threads(f.threads);
  const DeviceKind kind = device_kind_from_name(f.device);
  if (!f.spec.empty()) {
    DeviceSpec spec = DeviceSpec::named_or_file(f.spec);
    RECKON_CHECK(kind != DeviceKind::cuda || spec.kind == kind,
                 "--device cuda and --spec {} do not agree: that is a {}", f.spec, name_of(spec.kind));
    return spec;
  }
  if (kind != DeviceKind::cuda) return DeviceSpec::this_machine();
  const CudaResult cuda = open_cuda();
  RECKON_CHECK(cuda.backend, "plan --device cuda needs --spec here ({}, or a JSON file): {}",
               fmt::join(DeviceSpec::names_of_shipped(), ", "), cuda.why);
  return cuda.backend->spec();
}

void run(PlanFlags f) {
  RECKON_CHECK(f.report == "full" || f.report == "summary", "--report must be full or summary, got '{}'",
               f.report);
  const DeviceSpec spec = spec_of(f);
  f.device = "meta";
  const models::RunOptions options = f.resolve(2);
  const auto begin = std::chrono::steady_clock::now();
  const auto device = open_device(DeviceKind::meta, spec, {parse_bytes(f.memory_limit, "--memory-limit")});
  profiler::Ledger ledger;
  device->add_sink(&ledger);
  std::string parameters;
  {
    models::Trainer trainer(options, *device, /*with_data=*/false);
    fmt::print("{}\n", trainer.task().describe());
    if (!trainer.task().loaded.empty()) fmt::print("{}\n", trainer.task().loaded);
    parameters = parameter_formula(options, trainer.task().parameters().n_elements());
    while (!trainer.done()) trainer.step();
  }
  ledger.close();
  profiler::RunRecord record{run_config(options, device->spec()), ledger.books(), {}, {}};
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  fmt::print("{}\ndry run of {} steps (the first creates optimizer state): {} events in {}\n\n", parameters,
             options.steps, format_count(record.books.n_events), format_seconds(seconds));
  std::fflush(stdout);
  if (f.report == "full")
    profiler::write_report(std::cout, record);
  else
    profiler::write_summary(std::cout, record);
  if (!f.json.empty()) profiler::save_run(f.json, record);
}

}  // namespace

void add_plan(CLI::App& app) {
  auto f = std::make_shared<PlanFlags>();
  CLI::App* c = app.add_subcommand("plan",
                                   "Peak memory, launches and FLOPs of a training step before the run: a dry "
                                   "run on meta, no data, no weights");
  add_run_flags(*c, *f, false);
  // MODEL is missing when an estimate is asked for instead.
  c->get_option("MODEL")->required(false);
  add_estimates(*c);
  c->add_option("--json", f->json, "File for the whole ledger and the summary")->group("Output");
  c->add_option("--report", f->report, "full or summary")->capture_default_str()->group("Output");
  c->callback([f, c] {
    if (!c->get_subcommands().empty()) {
      if (!f->family.empty()) throw CLI::ExtrasError(c->get_name(), {f->family});
      return;
    }
    if (f->family.empty()) throw CLI::RequiredError("MODEL");
    run(*f);
  });
}

}  // namespace reckon::cli
