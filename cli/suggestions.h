// What a mistyped flag or command was probably meant to be. Called by main after
// the parser refused the arguments.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace reckon::cli {

// A line for each unknown flag or command that is near a known one; empty where
// none is. `words`: the arguments.
std::string suggestions(const CLI::App& app, const std::vector<std::string>& words);

}  // namespace reckon::cli
