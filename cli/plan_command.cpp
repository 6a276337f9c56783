// reckon plan: peak, launches and FLOPs of a training step from a dry run, without data and without weights.
#include <fmt/ranges.h>

#include <chrono>
#include <iostream>
#include <memory>

#include "calculators/dry_run.h"
#include "cli/commands.h"
#include "cli/devices.h"
#include "cli/run_flags.h"
#include "cli/typed_flags.h"
#include "models/train/family.h"
#include "profiler/json.h"
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
std::string parameter_formula(const calculators::TrainedSteps& run) {
  const models::ParameterFormula f = models::parameters_by_formula(run.options);
  return fmt::format("parameters: {} counted{}{}{}", format_count(run.n_parameters),
                     run.n_trained < run.n_parameters ? " with adapters" : "",
                     f.all ? fmt::format(", {} by formula", format_count(*f.all)) : "", f.parts);
}

// What the plan is for: the hardware of --spec, else this machine's CPU, or with --device cuda its GPU.
DeviceSpec spec_of(const PlanFlags& f) {
  if (f.machine.threads != 0) set_cpu_threads(f.machine.threads);
  const DeviceKind kind = f.options.device;
  if (!f.machine.spec.empty()) {
    DeviceSpec spec = DeviceSpec::named_or_file(f.machine.spec);
    RECKON_CHECK(kind != DeviceKind::cuda || spec.kind == kind,
                 "--device cuda and --spec {} do not agree: that is a {}", f.machine.spec, name_of(spec.kind));
    return spec;
  }
  if (kind != DeviceKind::cuda) return DeviceSpec::this_machine();
  const CudaResult cuda = open_cuda();
  RECKON_CHECK(cuda.backend, "plan --device cuda needs --spec here ({}, or a JSON file): {}",
               fmt::join(DeviceSpec::names_of_shipped(), ", "), cuda.why);
  return cuda.backend->spec();
}

void run(const PlanFlags& f) {
  const DeviceSpec spec = spec_of(f);
  const models::RunOptions options = f.resolved(2);
  const auto begin = std::chrono::steady_clock::now();
  const calculators::TrainedSteps run =
      calculators::dry_run(options, spec, {f.machine.limits.memory_limit_bytes});
  const profiler::RunRecord record{run_config(run.options, spec), run.ledger.books(), {}, {}};
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  fmt::print("{}\n", run.description);
  if (!run.loaded.empty()) fmt::print("{}\n", run.loaded);
  fmt::print("{}\ndry run of {} steps (the first creates optimizer state): {} events in {}\n\n",
             parameter_formula(run), options.steps, format_count(record.books.n_events),
             format_seconds(seconds));
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
  add_choice(*c, "--report", f->report, {"full", "summary"}, "full or summary")->group("Output");
  c->callback([f, c] {
    if (!c->get_subcommands().empty()) {
      if (!f->options.family.empty()) throw CLI::ExtrasError(c->get_name(), {f->options.family});
      return;
    }
    if (f->options.family.empty()) throw CLI::RequiredError("MODEL");
    run(*f);
  });
}

}  // namespace reckon::cli
