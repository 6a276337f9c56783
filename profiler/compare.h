// Two runs side by side: which settings differ, and which bytes, launches, FLOPs and times changed with them.
// The rows of every breakdown sum to its total exactly.
#pragma once

#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "profiler/books.h"
#include "profiler/report.h"

namespace reckon::profiler {

struct Delta {
  std::string name;
  int64_t a = 0, b = 0;
  int64_t difference() const { return b - a; }
};

// `rows` are ordered by the size of the change; their sums are `total`.
struct Breakdown {
  Delta total;
  std::vector<Delta> rows;
};

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
  Breakdown peak_by_category, peak_by_op, peak_by_module;  // of the step with the highest peak
  Breakdown saved_by_op;
  Breakdown launches_by_op;  // of the last step, as the rest
  Breakdown flops_by_phase;  // matmul + vector
  Breakdown traffic_by_phase;
  Delta rounded, reserved, recompute_flops;
  TimeSpread time_a, time_b;
  LossPair first_loss, last_loss;
  int64_t n_losses_equal = 0, n_losses = 0;  // bitwise, over the steps both have
};

Comparison compare(const RunRecord& a, const RunRecord& b, const ReportOptions& options = {});
void write_comparison(std::ostream& out, const Comparison& c, const ReportOptions& options = {});
std::string to_json(const Comparison& c);

}  // namespace reckon::profiler
