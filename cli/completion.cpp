// reckon completion bash|zsh: a script that completes commands, flags and the values that the parser knows.
#include <fmt/ranges.h>

#include <map>

#include "cli/app_tree.h"
#include "cli/commands.h"

namespace reckon::cli {
namespace {

// Both shells find the command that the cursor is under the same way: by walking the words before it.
std::string walk(const CLI::App& app, const char* word, const char* step) {
  std::vector<std::string> known;
  for (const CLI::App* command : whole_tree(app))
    if (command != &app) known.push_back('"' + path_of(*command) + '"');
  return fmt::format(
      "  local command=reckon i\n  for (({})); do\n    case \"$command {}\" in\n      {}) command=\"$command "
      "{}\" ;;\n    "
      "esac\n  done\n",
      step, word, fmt::join(known, " | "), word);
}

std::vector<std::string> names_under(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::App* c : commands_under(command)) names.push_back(c->get_name());
  return names;
}

std::string bash_case(const CLI::App& command) {
  std::vector<std::string> words = names_under(command);
  std::string by_value;  // what stands after a flag, by its set of values
  std::vector<std::string> files;
  for (const Flag& flag : flags_of(command)) {
    if (flag.positional) {
      words.insert(words.end(), flag.choices.begin(), flag.choices.end());
      continue;
    }
    words.insert(words.end(), flag.names.begin(), flag.names.end());
    if (flag.value.empty()) continue;
    if (flag.choices.empty() && flag.value == "TEXT")
      files.insert(files.end(), flag.names.begin(), flag.names.end());
    else if (!flag.choices.empty())
      by_value += fmt::format("        {}) COMPREPLY=($(compgen -W \"{}\" -- \"$word\")); return ;;\n",
                              fmt::join(flag.names, "|"), fmt::join(flag.choices, " "));
  }
  if (!files.empty())
    by_value +=
        fmt::format("        {}) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n", fmt::join(files, "|"));
  std::string out = fmt::format("    \"{}\")\n", path_of(command));
  if (!by_value.empty()) out += fmt::format("      case \"$before\" in\n{}      esac\n", by_value);
  return out + fmt::format("      COMPREPLY=($(compgen -W \"{}\" -- \"$word\")) ;;\n", fmt::join(words, " "));
}

std::string bash_script(const CLI::App& app) {
  std::string out =
      "# Written by `reckon completion bash`. Once: source <(reckon completion bash). Always: put that line "
      "into ~/.bashrc.\n"
      "_reckon() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
      "  # --flag=value comes as three words.\n"
      "  if [ \"$word\" = = ]; then word=; elif [ \"$before\" = = ]; then before=${COMP_WORDS[COMP_CWORD-2]}; "
      "fi\n" +
      walk(app, "${COMP_WORDS[i]}", "i = 1; i < COMP_CWORD; ++i") + "  case \"$command\" in\n";
  for (const CLI::App* command : whole_tree(app)) out += bash_case(*command);
  return out +
         "  esac\n  [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- \"$word\"))\n}\ncomplete -o "
         "filenames -F _reckon reckon\n";
}

// A description inside a single-quoted _arguments specification: brackets and colons have meaning there.
std::string zsh_quoted(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\'')
      out += "'\\''";
    else if (c == '[' || c == ']' || c == ':' || c == '\\')
      out += std::string("\\") + c;
    else
      out += c;
  }
  return out;
}

std::string zsh_case(const CLI::App& command) {
  std::vector<std::string> specs;
  for (const Flag& flag : flags_of(command)) {
    const std::string action =
        flag.choices.empty() ? "_files" : fmt::format("({})", fmt::join(flag.choices, " "));
    const std::string value = flag.value.empty() ? "" : fmt::format(":{}:{}", zsh_quoted(flag.value), action);
    if (flag.positional) continue;
    for (const std::string& name : flag.names)
      specs.push_back(fmt::format("'{}{}[{}]{}'", name, flag.value.empty() || name.size() == 2 ? "" : "=",
                                  zsh_quoted(flag.description), value));
  }
  specs.emplace_back("'*:file:_files'");
  std::string out = fmt::format("    \"{}\")\n", path_of(command));
  if (const auto below = commands_under(command); !below.empty()) {
    out += "      local -a commands=(\n";
    for (const CLI::App* c : below)
      out += fmt::format("        '{}:{}'\n", c->get_name(), zsh_quoted(c->get_description()));
    out += "      )\n      [[ $PREFIX == -* ]] || _describe command commands\n";
  }
  return out + fmt::format("      _arguments \\\n        {} ;;\n", fmt::join(specs, " \\\n        "));
}

std::string zsh_script(const CLI::App& app) {
  std::string out =
      "#compdef reckon\n# Written by `reckon completion zsh`. Save it as _reckon in a folder of $fpath, or: "
      "source <(reckon completion zsh).\n_reckon() {\n" +
      walk(app, "${words[i]}", "i = 2; i < CURRENT; ++i") + "  case \"$command\" in\n";
  for (const CLI::App* command : whole_tree(app)) out += zsh_case(*command);
  return out +
         "  esac\n}\nif [ \"$funcstack[1]\" = _reckon ]; then _reckon \"$@\"; else compdef _reckon reckon; "
         "fi\n";
}

}  // namespace

void add_completion(CLI::App& app) {
  const auto shell = std::make_shared<std::string>();
  CLI::App* c = app.add_subcommand(
      "completion", "Completion of commands and flags for a shell: source <(reckon completion bash)");
  c->add_option("SHELL", *shell, "bash or zsh")->required()->check(CLI::IsMember({"bash", "zsh"}));
  c->callback([&app, shell] { fmt::print("{}", *shell == "bash" ? bash_script(app) : zsh_script(app)); });
}

}  // namespace reckon::cli
