// The parts of `reckon bench`: each adds one subcommand below it. Called by bench_command.cpp.
#pragma once

#include <CLI/CLI.hpp>

namespace reckon::cli {

void add_bench_step(CLI::App& bench);

}  // namespace reckon::cli
