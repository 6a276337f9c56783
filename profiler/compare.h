// Two runs side by side: which settings differ, and which bytes, launches, FLOPs and times changed with them.
// The rows of every breakdown sum to its total exactly.
#pragma once

#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "profiler/books.h"
#include "profiler/columns.h"
#include "profiler/report_options.h"

namespace reckon::profiler {

struct Delta {
  std::string name;
  int64_t a = 0, b = 0;
  int64_t difference() const { return b - a; }
};

// One summed figure of both runs by one key, as a column asks for it (ComparedBy). `rows` are ordered by the
// size of the change; their sums are `total`.
struct Breakdown {
  ComparedBy by;
  Format format{};
  std::string mark;    // " [c]", or empty
  bool whole = false;  // every row is shown, however many
  Delta total = {};
  std::vector<Delta> rows = {};

  // Rows of equal names become one; largest change first, rows that are 0 in both are dropped.
  void take(std::map<std::string, Delta> by_name);
};

// Every breakdown that the columns ask for.
template <class T>
std::vector<Breakdown> compare_rows(const Columns<T>& columns, const std::vector<T>& a,
                                    const std::vector<T>& b) {
  std::vector<Breakdown> out;
  for (const Column<T>& c : columns)
    for (ComparedBy by : c.how.compared) {
      if (by.key.empty()) by.key = c.name + "_by_" + by.by;
      if (by.title.empty()) by.title = c.title() + " by " + by.by;
      if (by.total.empty()) by.total = c.title();
      const Column<T>& key = columns.named(by.by);
      std::map<std::string, Delta> rows;
      for (const T& row : a) rows[key.text(row, row)].a += c.number(row);
      for (const T& row : b) rows[key.text(row, row)].b += c.number(row);
      out.push_back({.by = by,
                     .format = c.how.format,
                     .mark = c.how.mark ? " " + std::string(mark_of(*c.how.mark)) : "",
                     .whole = key.few});
      out.back().take(std::move(rows));
    }
  return out;
}

struct ConfigDifference {
  std::string key;
  std::optional<std::string> a, b;  // absent: the run has no such key
};

// Measured; over the steps after the first where there are any.
struct TimeSpread {
  int64_t n_steps = 0;
  int64_t median_ns = 0, min_ns = 0, max_ns = 0;
};
TimeSpread time_per_step(const RunBooks& books);

struct LossPair {
  std::optional<double> a, b;
  bool bitwise_equal() const;
  std::string in_words() const;
};

struct Comparison {
  std::string name_a = "a", name_b = "b";
  std::vector<ConfigDifference> config;
  // Bytes of the step with the highest peak; launches, FLOPs (matmul + vector)
  // and bytes moved of the last step.
  std::vector<Breakdown> breakdowns;
  Delta rounded, reserved, recompute_flops;
  TimeSpread time_a, time_b;
  LossPair first_loss, last_loss;
  int64_t n_losses_equal = 0, n_losses = 0;  // bitwise, over the steps both have

  const Breakdown& of(std::string_view key) const;  // as in JSON: "peak_by_op"
};

Comparison compare(const RunRecord& a, const RunRecord& b, const ReportOptions& options = {});
void write_breakdown(std::ostream& out, const Breakdown& b, const std::string& name_a,
                     const std::string& name_b, int top);
void write_comparison(std::ostream& out, const Comparison& c, const ReportOptions& options = {});
std::string to_json(const Comparison& c);

}  // namespace reckon::profiler
