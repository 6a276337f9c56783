#include "cli/app_tree.h"

#include <algorithm>

namespace reckon::cli {
namespace {

// "TEXT:{f64,f32,bf16}" -> TEXT and the three names.
void split_type(const std::string& type, Flag& flag) {
  const size_t open = type.find('{'), close = type.rfind('}');
  flag.value = type.substr(0, type.find(':'));
  if (open == std::string::npos || close == std::string::npos || close < open) return;
  flag.choices = CLI::detail::split(type.substr(open + 1, close - open - 1), ',');
}

}  // namespace

std::vector<Flag> flags_of(const CLI::App& command) {
  std::vector<Flag> flags;
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_group().empty()) continue;  // hidden
    Flag flag;
    for (const std::string& name : option->get_snames()) flag.names.push_back("-" + name);
    for (const std::string& name : option->get_lnames()) flag.names.push_back("--" + name);
    flag.positional = flag.names.empty();
    if (flag.positional) flag.names.push_back(option->get_name(true));
    if (option->get_items_expected_max() > 0) split_type(option->get_type_name(), flag);
    flag.standard = option->get_default_str();
    flag.description = option->get_description();
    flag.group = option->get_group();
    flag.required = option->get_required();
    flags.push_back(std::move(flag));
  }
  return flags;
}

std::vector<const CLI::App*> commands_under(const CLI::App& command) {
  return command.get_subcommands([](const CLI::App* sub) { return !sub->get_group().empty(); });
}

std::string path_of(const CLI::App& command) {
  const CLI::App* parent = command.get_parent();
  return parent ? path_of(*parent) + " " + command.get_name() : "reckon";
}

std::vector<const CLI::App*> whole_tree(const CLI::App& root) {
  std::vector<const CLI::App*> all{&root};
  for (size_t i = 0; i < all.size(); ++i) {
    const std::vector<const CLI::App*> below = commands_under(*all[i]);
    all.insert(all.begin() + static_cast<std::ptrdiff_t>(i) + 1, below.begin(), below.end());
  }
  return all;
}

}  // namespace reckon::cli
