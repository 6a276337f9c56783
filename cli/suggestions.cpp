#include "cli/suggestions.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/app_tree.h"
#include "runtime/core/nearest_name.h"

namespace reckon::cli {
namespace {

struct Level {
  explicit Level(const CLI::App& command) : command(&command), commands(commands_under(command)) {
    for (const Flag& flag : flags_of(command)) {
      has_positional |= flag.positional;
      if (flag.positional) continue;
      flags.insert(flags.end(), flag.names.begin(), flag.names.end());
      if (!flag.value.empty()) with_value.insert(with_value.end(), flag.names.begin(), flag.names.end());
    }
  }

  const CLI::App* named(const std::string& word) const {
    const auto found = std::find_if(commands.begin(), commands.end(),
                                    [&](const CLI::App* c) { return c->get_name() == word; });
    return found == commands.end() ? nullptr : *found;
  }

  const CLI::App* command;
  std::vector<const CLI::App*> commands;
  std::vector<std::string> flags, with_value;
  bool has_positional = false;
};

bool holds(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

std::string suggestions(const CLI::App& app, const std::vector<std::string>& words) {
  std::string lines;
  Level level(app);
  const auto suggest = [&](const char* kind, const std::string& word, const std::vector<std::string>& known) {
    const std::string nearest = nearest_name(word, known);
    if (!nearest.empty())
      lines += fmt::format("{} has no {} {}; did you mean {}?\n", path_of(*level.command), kind, word, nearest);
  };
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i].starts_with("-")) {
      const size_t equals = words[i].find('=');
      const std::string name = words[i].substr(0, equals);
      if (!holds(level.flags, name)) suggest("flag", name, level.flags);
      if (holds(level.with_value, name) && equals == std::string::npos) ++i;
    } else if (const CLI::App* next = level.named(words[i])) {
      level = Level(*next);
    } else if (!level.commands.empty() && !level.has_positional) {
      std::vector<std::string> names;
      for (const CLI::App* c : level.commands) names.push_back(c->get_name());
      suggest("command", words[i], names);
      break;  // what follows belongs to a command that is not known
    }
  }
  return lines;
}

}  // namespace reckon::cli
