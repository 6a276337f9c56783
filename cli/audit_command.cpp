// reckon audit: the dry run against the run, event for event.
#include <memory>

#include "cli/commands.h"
#include "cli/devices.h"
#include "cli/run_flags.h"
#include "models/train/trainer.h"
#include "profiler/audit.h"
#include "profiler/ledger.h"
#include "runtime/core/format.h"

namespace reckon::cli {
namespace {

struct AuditFlags : RunFlags {
  bool all = false;
};

std::vector<Event> events_of(const RunFlags& f, const models::RunOptions& options, DeviceKind kind,
                             DeviceSpec spec) {
  const auto device =
      open_device(kind, std::move(spec), {parse_bytes(f.memory_limit, "--memory-limit"), f.check_nan});
  profiler::Ledger ledger;
  ledger.keep_events(true);
  device->add_sink(&ledger);
  {
    models::RunOptions o = options;
    o.device = kind;
    models::Trainer trainer(o, *device, /*with_data=*/!o.data.empty() || o.family == models::Family::af3);
    while (!trainer.done()) trainer.step();
  }
  return {ledger.events().begin(), ledger.events().end()};
}

bool audit_one(const RunFlags& f, const models::RunOptions& options) {
  // The dry run gets the very spec of the hardware that runs.
  const DeviceKind kind = options.device == DeviceKind::cuda ? DeviceKind::cuda : DeviceKind::cpu;
  const DeviceSpec spec = kind == DeviceKind::cuda ? open_device(kind, {})->spec() : f.device_spec();
  const std::vector<Event> executed = events_of(f, options, kind, spec);
  const std::vector<Event> predicted = events_of(f, options, DeviceKind::meta, spec);
  const profiler::AuditResult result = profiler::audit(predicted, executed);
  const profiler::BooksCheck books = profiler::check_books(executed);
  fmt::print(
      "{:<10} dtype {:<4} checkpoint {:<9} fuse {:<5} {}{}\n", models::name_of(options.family),
      name_of(options.dtype), autograd::name_of(options.checkpoint), options.fuse.to_string(), result.text,
      books.closed ? fmt::format("; books close, peak {}", format_bytes(static_cast<double>(books.peak_bytes)))
                   : "; " + books.text);
  std::fflush(stdout);
  return result.equal && books.closed;
}

void run(const AuditFlags& f) {
  int64_t checked = 0, failed = 0;
  const auto check = [&](const RunFlags& flags) {
    ++checked;
    failed += !audit_one(flags, flags.resolve(2));
  };
  if (!f.all) {
    check(f);
  } else {
    for (const char* dtype : {"f32", "bf16", "f16"})
      for (const char* policy : {"none", "selective", "sublayer", "block"})
        for (const char* fuse : {"none", "all"}) {
          RunFlags one = f;
          one.dtype = dtype;
          if (one.dtype == "f32") one.residual = "f32";
          one.checkpoint = policy;
          one.fuse = fuse;
          check(one);
        }
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
