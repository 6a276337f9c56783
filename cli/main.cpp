#include <cstdio>

#include "cli/commands.h"
#include "cli/suggestions.h"
#include "runtime/core/error.h"
#include "runtime/cpu/threads.h"

int main(int argc, char** argv) {
  reckon::restart_with_short_spins(argv);
  CLI::App app{
      "reckon: a training runtime that keeps its own books\n"
      "Trains Qwen, Evoformer, Pairformer and AlphaFold-3-shaped models, generates text, and accounts every "
      "byte, launch and FLOP of it.\n"
      "Bytes are binary (KiB = 1024); FLOPs count a multiply-add as two."};
  app.require_subcommand(1);
  app.fallthrough(false);
  app.set_version_flag("--version", reckon::cli::version_text, "What was built, and how");
  reckon::cli::add_train(app);
  reckon::cli::add_plan(app);
  reckon::cli::add_generate(app);
  reckon::cli::add_audit(app);
  reckon::cli::add_compare(app);
  reckon::cli::add_parity(app);
  reckon::cli::add_figures(app);
  reckon::cli::add_bench(app);
  reckon::cli::add_flops(app);
  reckon::cli::add_explain(app);
  reckon::cli::add_devices(app);
  reckon::cli::add_completion(app);
  reckon::cli::add_man(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (app.exit(e) == 0) return 0;
    fmt::print(stderr, "{}", reckon::cli::suggestions(app, {argv + 1, argv + argc}));
    return 2;
  } catch (const reckon::Error& e) {
    std::fflush(stdout);
    fmt::print(stderr, "reckon: error: {}\n", e.what());
    return 1;
  } catch (const std::exception& e) {
    std::fflush(stdout);
    fmt::print(stderr, "reckon: internal error: {}\n", e.what());
    return 3;
  }
  return 0;
}
