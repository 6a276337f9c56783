// Aligned text tables and the naming rules of the reports: how module paths are shortened and numbers printed.
#pragma once

#include <map>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/intern.h"

namespace reckon::profiler {

class Table {
 public:
  // One letter per column: l or r.
  Table(std::string alignment, std::vector<std::string> heads);
  void row(std::vector<std::string> cells);  // missing cells are empty
  void rule();
  void print(std::ostream& out) const;
  const std::vector<std::vector<std::string>>& rows() const { return rows_; }

 private:
  std::string alignment_;
  std::vector<std::vector<std::string>> rows_;  // the first is the heads; an empty one is a rule
};

inline std::ostream& operator<<(std::ostream& out, const Table& t) {
  t.print(out);
  return out;
}

// "layers.7.attention.q" at depth 3 gives "layers.*.attention"; the empty path gives "(top)". Components of
// digits only are siblings and become `*`.
std::string collapse_path(std::string_view path, int depth);

// Shortened paths of a set of modules. Where several siblings share one, it says how many: "layers.* x24".
class ModuleNames {
 public:
  explicit ModuleNames(int depth) : depth_(depth) {}
  void add(NameId module);  // all modules first
  std::string of(NameId module) const;

 private:
  int depth_;
  std::map<std::string, std::vector<std::string>> siblings_;  // shortened -> distinct cut paths
};

std::string op_name(NameId op);          // "(no op)" for the empty name
std::string module_name(NameId module);  // the whole path; "(top)" for the empty one
// Without arguments, and cut: "layer_norm_forward", "cutlass::Kernel<...>".
std::string short_kernel_name(std::string_view mangled);
std::string percent(int64_t part, int64_t whole);
std::string bytes_exact_and_short(int64_t bytes);  // "1,536 (1.50 KiB)"
std::string signed_count(int64_t n);               // "+1,024", "-3", "0"

}  // namespace reckon::profiler
