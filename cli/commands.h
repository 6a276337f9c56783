// The subcommands of the program. Each adds its flags and help to the app; the callback does the work and
// returns by exception: reckon::Error is printed by main as one message, exit code 1.
#pragma once

#include <CLI/CLI.hpp>

namespace reckon::cli {

void add_train(CLI::App& app);
void add_plan(CLI::App& app);
void add_audit(CLI::App& app);
void add_compare(CLI::App& app);
void add_parity(CLI::App& app);
void add_figures(CLI::App& app);
void add_generate(CLI::App& app);
void add_bench(CLI::App& app);
void add_flops(CLI::App& app);
void add_explain(CLI::App& app);
void add_devices(CLI::App& app);
// What these two write is read from the app itself, when they run.
void add_completion(CLI::App& app);
void add_man(CLI::App& app);
// plan training-time, plan inference-cost: under the plan command.
void add_estimates(CLI::App& plan);

// What --version prints.
std::string version_text();

}  // namespace reckon::cli
