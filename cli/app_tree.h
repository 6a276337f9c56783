// The commands and flags of the program as CLI11 holds them, read for whoever writes something from them:
// completion, the manual page, suggestions. One source for all three, so none of them can drift from --help.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace reckon::cli {

struct Flag {
  std::vector<std::string> names;  // with their dashes; of a positional its one name
  std::string value;               // "TEXT", "INT", ...; empty for a switch
  std::string standard;            // the value that holds when the flag is not given; may be empty
  std::string description;
  std::string group;
  std::vector<std::string> choices;  // where the parser knows the set of values
  bool positional = false, required = false;
};

std::vector<Flag> flags_of(const CLI::App& command);
std::vector<const CLI::App*> commands_under(const CLI::App& command);
// "reckon", "reckon plan", "reckon plan training-time"
std::string path_of(const CLI::App& command);
// The command itself and all below it, parents first.
std::vector<const CLI::App*> whole_tree(const CLI::App& root);

}  // namespace reckon::cli
