// Records as an aligned text, from their list of columns: rows that share their keys merged, the largest first,
// the rest in one line so that every column still adds up. Called by the reports and the calculators.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "profiler/columns.h"

namespace reckon::profiler {

// Rows with the same text keys become one; in the order of the keys, or by `largest`, largest first.
template <class T, class Number>
std::vector<T> merged(const Columns<T>& columns, const std::vector<T>& rows, Number largest) {
  const auto shown = columns.in(Place::text);
  const auto less = [&](const T& a, const T& b) {
    for (const Column<T>* c : shown) {
      if (!c->is_key()) continue;
      if (c->less(a, b)) return true;
      if (c->less(b, a)) return false;
    }
    return false;
  };
  std::map<T, T, decltype(less)> by_key(less);
  for (const T& row : rows)
    if (const auto [at, first] = by_key.try_emplace(row, row); !first) add_up(columns, at->second, row);
  std::vector<T> out;
  for (auto& [key, row] : by_key) out.push_back(std::move(row));
  std::stable_sort(out.begin(), out.end(),
                   [&](const T& a, const T& b) { return std::invoke(largest, a) > std::invoke(largest, b); });
  return out;
}

template <class T>
class TextTable {
 public:
  // `whole` is what shares are of.
  explicit TextTable(const Columns<T>& columns, const T& whole = {})
      : columns_(columns), whole_(whole), table_("", {}) {
    std::string alignment;
    std::vector<std::string> heads;
    for (const Column<T>* c : columns_.in(Place::text)) {
      if (c->how.if_any && c->number(whole) == 0) continue;
      shown_.push_back(c);
      alignment += c->right ? 'r' : 'l';
      heads.push_back(c->heading());
    }
    table_ = Table(alignment, heads);
  }
  TextTable(const TextTable&) = delete;

  void row(const T& row) {
    std::vector<std::string> cells;
    for (const Column<T>* c : shown_) cells.push_back(c->text(row, whole_));
    table_.row(std::move(cells));
  }
  void rows(const std::vector<T>& all) {
    for (const T& r : all) row(r);
  }
  // A sum of rows: keys are blank, the label stands in the first column.
  void total(std::string label, const T& sum) {
    std::vector<std::string> cells;
    for (const Column<T>* c : shown_) cells.push_back(c->in_totals() ? c->text(sum, whole_) : "");
    cells[0] = std::move(label);
    table_.row(std::move(cells));
  }
  // The first `n` rows; the others in one line, "other (12 cells)", so that every column still adds up.
  void top(const std::vector<T>& all, int n, std::string_view kind) {
    const size_t shown = std::min(all.size(), static_cast<size_t>(std::max(n, 0)));
    T rest{};
    for (size_t i = 0; i < all.size(); ++i)
      if (i < shown)
        row(all[i]);
      else
        add_up(columns_, rest, all[i]);
    if (shown < all.size())
      total("other (" + std::to_string(all.size() - shown) + " " + std::string(kind) + ")", rest);
  }
  void rule() { table_.rule(); }
  void cells(std::vector<std::string> texts) { table_.row(std::move(texts)); }  // a line of its own kind
  const Table& table() const { return table_; }

 private:
  Columns<T> columns_;
  std::vector<const Column<T>*> shown_;
  T whole_;
  Table table_;
};

template <class T>
std::ostream& operator<<(std::ostream& out, const TextTable<T>& t) {
  return out << t.table();
}

}  // namespace reckon::profiler
