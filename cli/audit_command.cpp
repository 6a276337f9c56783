// reckon audit: the dry run against the run, event for event.
#include <memory>

#include "calculators/dry_run.h"
#include "cli/commands.h"
#include "cli/devices.h"
#include "cli/run_flags.h"
#include "models/train/family.h"
#include "profiler/audit.h"
#include "runtime/core/format.h"

namespace reckon::cli {
namespace {

struct AuditFlags : RunFlags {
  bool all = false;
};

bool audit_one(const MachineFlags& machine, const models::RunOptions& options) {
  // The dry run gets the very spec of the hardware that runs.
  const DeviceKind kind = options.device == DeviceKind::cuda ? DeviceKind::cuda : DeviceKind::cpu;
  const DeviceSpec spec =
      kind == DeviceKind::cuda ? open_device(kind, {})->spec() : machine.device_spec(options.device);
  const bool with_data = !options.data.empty() || models::family_named(options.family).data_help.empty();
  const auto events_on = [&](DeviceKind on) {
    const auto device = open_device(on, spec, machine.limits);
    const auto run = calculators::train_steps(options, *device, with_data, /*keep_events=*/true);
    return std::vector<Event>(run.ledger.events().begin(), run.ledger.events().end());
  };
  const std::vector<Event> executed = events_on(kind), predicted = events_on(DeviceKind::meta);
  const profiler::AuditResult result = profiler::audit(predicted, executed);
  const profiler::BooksCheck books = profiler::check_books(executed);
  fmt::print("{:<10} dtype {:<4} checkpoint {:<9} fuse {:<5} {}{}\n", options.family, name_of(options.dtype),
             autograd::name_of(options.checkpoint), options.fuse.to_string(), result.text,
             books.closed
                 ? fmt::format("; books close, peak {}", format_bytes(static_cast<double>(books.peak_bytes)))
                 : "; " + books.text);
  std::fflush(stdout);
  return result.equal && books.closed;
}

std::vector<RunFlags> settings_of(const AuditFlags& f) {
  if (!f.all) return {f};
  std::vector<RunFlags> all;
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (const auto policy : {autograd::CheckpointPolicy::none, autograd::CheckpointPolicy::selective,
                              autograd::CheckpointPolicy::sublayer, autograd::CheckpointPolicy::block})
      for (const autograd::FusionSet fuse : {autograd::FusionSet::none(), autograd::FusionSet::all()}) {
        RunFlags& one = all.emplace_back(f);
        one.options.dtype = dtype;
        one.options.low_residual = f.options.low_residual && dtype != DType::f32;
        one.options.checkpoint = policy;
        one.options.fuse = fuse;
      }
  return all;
}

void run(const AuditFlags& f) {
  int64_t checked = 0, failed = 0;
  for (const RunFlags& one : settings_of(f)) {
    ++checked;
    failed += !audit_one(one.machine, one.resolved(2));
  }
  RECKON_CHECK(failed == 0, "the dry run and the run differ in {} of {} settings", failed, checked);
}

}  // namespace

void add_audit(CLI::App& app) {
  auto f = std::make_shared<AuditFlags>();
  CLI::App* c = app.add_subcommand("audit",
                                   "Run on cpu (or --device cuda) and on meta and compare every event; check "
                                   "that the books close at every event");
  add_run_flags(*c, *f, true);
  c->add_flag("--all", f->all, "Every dtype, checkpoint policy and fusion none/all");
  c->callback([f] { run(*f); });
}

}  // namespace reckon::cli
