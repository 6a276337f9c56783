// reckon bench: what things cost on this machine.
#include "cli/bench.h"

#include "cli/commands.h"

namespace reckon::cli {

void add_bench(CLI::App& app) {
  CLI::App* c =
      app.add_subcommand("bench", "What steps and ops cost on this machine: time, bytes, launches, FLOPs");
  c->require_subcommand(1);
  add_bench_step(*c);
}

}  // namespace reckon::cli
