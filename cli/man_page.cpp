// reckon man: the manual page, written from the same texts as --help.
#include <fmt/format.h>

#include <algorithm>

#include "cli/app_tree.h"
#include "cli/commands.h"

namespace reckon::cli {
namespace {

// Text as roff prints it unchanged: a leading dot or quote would be a request, a hyphen would become a dash,
// and a list without spaces may be broken after its commas.
std::string roff(const std::string& text) {
  std::string out;
  bool line_start = true;
  for (const char c : text) {
    if (line_start && (c == '.' || c == '\'')) out += "\\&";
    line_start = c == '\n';
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else if (c == ',')
      out += ",\\:";
    else if (c == '\n')
      out += "\n.br\n";
    else
      out += c;
  }
  return out;
}

std::string bold(const std::string& text) { return "\\fB" + roff(text) + "\\fR"; }
std::string italic(const std::string& text) { return "\\fI" + roff(text) + "\\fR"; }

std::string entry(const Flag& flag) {
  std::string head;
  for (const std::string& name : flag.names)
    head += (head.empty() ? "" : ", ") + (flag.positional ? italic(name) : bold(name));
  if (!flag.positional && !flag.value.empty()) head += " " + italic(flag.value);
  std::string body = roff(flag.description);
  if (!flag.choices.empty()) {
    std::string list;
    for (const std::string& choice : flag.choices) list += (list.empty() ? "" : ", ") + choice;
    body += roff(" (one of " + list + ")");
  }
  if (!flag.standard.empty()) body += roff(" [" + flag.standard + "]");
  return fmt::format(".TP\n{}\n{}\n", head, body);
}

std::string synopsis(const CLI::App& command) {
  std::string line = bold(path_of(command)) + " [" + italic("flags") + "]";
  for (const Flag& flag : flags_of(command))
    if (flag.positional)
      line += flag.required ? " " + italic(flag.names[0]) : " [" + italic(flag.names[0]) + "]";
  if (!commands_under(command).empty()) line += " [" + italic("command") + "]";
  return line;
}

std::string flags_by_group(const CLI::App& command) {
  std::string out;
  const std::vector<Flag> flags = flags_of(command);
  std::vector<std::string> groups;  // in the order in which --help shows them
  for (const Flag& flag : flags)
    if (std::find(groups.begin(), groups.end(), flag.group) == groups.end()) groups.push_back(flag.group);
  for (const std::string& group : groups) {
    if (groups.size() > 1) out += fmt::format(".PP\n{}\n", italic(group));
    for (const Flag& flag : flags)
      if (flag.group == group) out += entry(flag);
  }
  return out;
}

std::string section(const CLI::App& command) {
  return fmt::format(".SS \"{}\"\n{}\n.PP\n{}\n{}", roff(path_of(command)), synopsis(command),
                     roff(command.get_description()), flags_by_group(command));
}

std::string page(const CLI::App& app) {
  std::string out = "'\\\" t\n.TH RECKON 1 \"\" \"reckon " RECKON_VERSION "\" \"User commands\"\n.nh\n.ad l\n";
  out += ".SH NAME\nreckon \\- a training runtime that keeps its own books\n.SH SYNOPSIS\n" + bold("reckon") +
         " " + italic("command") + " [" + italic("flags") + "]\n.SH DESCRIPTION\n" +
         roff(app.get_description()) + "\n.SH OPTIONS\n" + flags_by_group(app) + ".SH COMMANDS\n";
  for (const CLI::App* command : whole_tree(app))
    if (command != &app) out += section(*command);
  out += ".SH EXIT STATUS\n";
  for (const auto& [code, meaning] :
       {std::pair{"0", "The command did what it was asked."},
        {"1", "Wrong input, or a run that could not go on; one message says which."},
        {"2", "The arguments could not be read, or a comparison failed."},
        {"3", "A fault of the program itself."}})
    out += fmt::format(".TP\n{}\n{}\n", bold(code), meaning);
  return out;
}

}  // namespace

void add_man(CLI::App& app) {
  CLI::App* c = app.add_subcommand("man", "The manual page: reckon man | man -l -");
  c->callback([&app] { fmt::print("{}", page(app)); });
}

}  // namespace reckon::cli
