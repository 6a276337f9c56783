// reckon compare: what one flag changed.
#include <fstream>
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "profiler/compare.h"
#include "profiler/json.h"
#include "runtime/core/error.h"

namespace reckon::cli {

void add_compare(CLI::App& app) {
  struct Flags {
    std::string a, b;
    bool json = false;
    int top = 16;
  };
  auto f = std::make_shared<Flags>();
  CLI::App* c = app.add_subcommand(
      "compare", "Two runs side by side: settings, bytes by category and op, launches, FLOPs, time, loss");
  c->add_option("A", f->a, "A file written with --json, or a folder written with --out")->required();
  c->add_option("B", f->b, "The other run")->required();
  c->add_flag("--json", f->json, "Print JSON instead of tables");
  c->add_option("--top", f->top, "Rows per table; the rest is one line, so that columns still add up")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  c->callback([f] {
    profiler::ReportOptions options;
    options.top = f->top;
    const profiler::RunRecord a = profiler::load_run(f->a);
    const profiler::RunRecord b = profiler::load_run(f->b);
    profiler::Comparison result = profiler::compare(a, b, options);
    result.name_a = f->a;
    result.name_b = f->b;
    if (f->json)
      std::cout << profiler::to_json(result) << "\n";
    else
      profiler::write_comparison(std::cout, result, options);
  });
}

}  // namespace reckon::cli
