#include "profiler/table.h"

#include <cxxabi.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "runtime/core/format.h"

namespace reckon::profiler {

Table::Table(std::string alignment, std::vector<std::string> heads) : alignment_(std::move(alignment)) {
  rows_.push_back(std::move(heads));
  rule();
}

void Table::row(std::vector<std::string> cells) {
  cells.resize(alignment_.size());
  rows_.push_back(std::move(cells));
}

void Table::rule() { rows_.emplace_back(); }

void Table::print(std::ostream& out) const {
  std::vector<size_t> width(alignment_.size());
  for (const auto& row : rows_)
    for (size_t c = 0; c < row.size(); ++c) width[c] = std::max(width[c], row[c].size());
  for (const auto& row : rows_) {
    std::string line;
    for (size_t c = 0; c < width.size(); ++c) {
      line += "  ";
      if (row.empty())
        line += std::string(width[c], '-');
      else if (alignment_[c] == 'r')
        line += fmt::format("{:>{}}", row[c], width[c]);
      else
        line += fmt::format("{:<{}}", row[c], width[c]);
    }
    line.resize(line.find_last_not_of(' ') + 1);
    out << line << '\n';
  }
}

namespace {

bool is_number(std::string_view s) {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// The first `depth` components as they are.
std::string_view cut_path(std::string_view path, int depth) {
  size_t end = 0;
  for (int i = 0; i < depth; ++i) {
    end = path.find('.', end);
    if (end == std::string_view::npos) return path;
    if (i + 1 < depth) ++end;
  }
  return path.substr(0, end);
}

}  // namespace

std::string collapse_path(std::string_view path, int depth) {
  path = cut_path(path, depth);
  if (path.empty()) return "(top)";
  std::string out;
  while (true) {
    const size_t dot = path.find('.');
    const std::string_view part = path.substr(0, dot);
    out += is_number(part) ? "*" : part;
    if (dot == std::string_view::npos) return out;
    out += '.';
    path.remove_prefix(dot + 1);
  }
}

void ModuleNames::add(NameId module) {
  const std::string_view path = name_of(module);
  std::vector<std::string>& seen = siblings_[collapse_path(path, depth_)];
  const std::string cut(cut_path(path, depth_));
  if (std::find(seen.begin(), seen.end(), cut) == seen.end()) seen.push_back(cut);
}

std::string ModuleNames::of(NameId module) const {
  const std::string_view path = name_of(module);
  const auto found = siblings_.find(collapse_path(path, depth_));
  if (found == siblings_.end()) return collapse_path(path, depth_);
  // A single numbered module keeps its number.
  if (found->second.size() == 1) return found->second[0].empty() ? "(top)" : found->second[0];
  return fmt::format("{} x{}", found->first, found->second.size());
}

std::string op_name(NameId op) { return op.index ? std::string(name_of(op)) : "(no op)"; }

std::string module_name(NameId module) { return module.index ? std::string(name_of(module)) : "(top)"; }

std::string short_kernel_name(std::string_view mangled) {
  const std::string text(mangled);
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> plain(
      abi::__cxa_demangle(text.c_str(), nullptr, nullptr, &status), std::free);
  std::string name = status == 0 && plain ? plain.get() : text;
  for (const std::string_view gone : {"(anonymous namespace)::", "reckon::ops::gpu::", "void "})
    for (size_t at = name.find(gone); at != std::string::npos; at = name.find(gone, at))
      name.erase(at, gone.size());
  // The arguments of the call begin at the last parenthesis that is not inside <>.
  int depth = 0;
  for (size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '<') ++depth;
    if (name[i] == '>') --depth;
    if (name[i] == '(' && depth == 0 && i > 0) {
      name.resize(i);
      break;
    }
  }
  constexpr size_t kMost = 72;  // characters
  if (name.size() > kMost) name = name.substr(0, kMost - 3) + "...";
  return name;
}

std::string percent(int64_t part, int64_t whole) {
  return whole == 0 ? "-"
                    : fmt::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string bytes_exact_and_short(int64_t bytes) {
  return fmt::format("{} ({})", format_count(bytes), format_bytes(static_cast<double>(bytes)));
}

std::string signed_count(int64_t n) { return (n > 0 ? "+" : "") + format_count(n); }

}  // namespace reckon::profiler
