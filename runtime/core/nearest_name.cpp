#include "runtime/core/nearest_name.h"

#include <algorithm>

namespace reckon {
namespace {

// Damerau-Levenshtein distance with adjacent swaps; three rows of the table are alive.
size_t edits(std::string_view a, std::string_view b) {
  std::vector<size_t> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    before_last.swap(last);
    last.swap(row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
  }
  return row[b.size()];
}

}  // namespace

std::string nearest_name(std::string_view given, const std::vector<std::string>& known) {
  std::string nearest;
  size_t fewest = std::max<size_t>(1, given.size() / 3) + 1;
  for (const std::string& name : known) {
    const size_t n = edits(given, name);
    if (n >= fewest || n >= name.size()) continue;
    fewest = n;
    nearest = name;
  }
  return nearest;
}

std::string did_you_mean(std::string_view given, const std::vector<std::string>& known) {
  const std::string name = nearest_name(given, known);
  return name.empty() ? name : " Did you mean '" + name + "'?";
}

}  // namespace reckon
