#include "profiler/compare.h"

#include <fmt/ostream.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <map>

#include "profiler/json_fields.h"
#include "profiler/table.h"
#include "runtime/core/format.h"

namespace reckon::profiler {
namespace {

// Adds up both runs under common names.
class Adder {
 public:
  explicit Adder(std::string total_name) { breakdown_.total.name = std::move(total_name); }
  void add(bool second, const std::string& name, int64_t amount) {
    Delta& d = rows_[name];
    (second ? d.b : d.a) += amount;
    (second ? breakdown_.total.b : breakdown_.total.a) += amount;
  }
  // Largest change first, then the largest row; rows that are 0 in both are dropped.
  Breakdown finish() {
    for (auto& [name, d] : rows_) {
      d.name = name;
      if (d.a || d.b) breakdown_.rows.push_back(d);
    }
    std::stable_sort(breakdown_.rows.begin(), breakdown_.rows.end(), [](const Delta& x, const Delta& y) {
      const int64_t dx = std::abs(x.difference()), dy = std::abs(y.difference());
      return dx != dy ? dx > dy : std::max(x.a, x.b) > std::max(y.a, y.b);
    });
    return std::move(breakdown_);
  }

 private:
  std::map<std::string, Delta> rows_;
  Breakdown breakdown_;
};

std::vector<ConfigDifference> differing_settings(const RunConfig& a, const RunConfig& b) {
  std::vector<ConfigDifference> out;
  for (const auto& [key, value] : a.entries)
    if (b.get(key) != value) out.push_back({key, value, b.get(key)});
  for (const auto& [key, value] : b.entries)
    if (!a.get(key)) out.push_back({key, std::nullopt, value});
  return out;
}

}  // namespace

TimeSpread time_per_step(const RunBooks& books) {
  TimeSpread out;
  std::vector<int64_t> times;
  // The first step also creates optimizer state and warms caches.
  for (size_t i = books.series.size() > 1 ? 1 : 0; i < books.series.size(); ++i)
    times.push_back(books.series[i].duration_ns);
  if (times.empty()) return out;
  std::sort(times.begin(), times.end());
  const size_t n = times.size();
  out.n_steps = static_cast<int64_t>(n);
  out.median_ns = n % 2 ? times[n / 2] : (times[n / 2 - 1] + times[n / 2]) / 2;
  out.min_ns = times.front();
  out.max_ns = times.back();
  return out;
}

bool LossPair::bitwise_equal() const {
  return a && b && std::bit_cast<uint64_t>(*a) == std::bit_cast<uint64_t>(*b);
}

std::string LossPair::in_words() const {
  if (!a || !b) return "unknown: a run without data has no loss";
  if (bitwise_equal()) return fmt::format("{:.9g}, bitwise equal", *a);
  const double scale = std::max(std::fabs(*a), std::fabs(*b));
  return fmt::format("{:.9g} against {:.9g}, differs by {:.3g} ({:.2g} of its size)", *a, *b, *b - *a,
                     scale > 0 ? std::fabs(*b - *a) / scale : 0.0);
}

Comparison compare(const RunRecord& a, const RunRecord& b, const ReportOptions& options) {
  Comparison c;
  c.config = differing_settings(a.config, b.config);
  Adder category("peak"), op("peak"), module("peak"), saved("kept for backward"), launches("launches"),
      flop("FLOPs"), traffic("bytes moved");
  // Without the number of siblings, so that 12 and 24 layers land in one row.
  const auto module_name = [&](NameId m) { return collapse_path(name_of(m), options.module_depth); };
  for (const bool second : {false, true}) {
    const RunRecord& run = second ? b : a;
    const StepBooks& memory = run.books.for_memory();
    for (const Cell& cell : memory.cells) {
      category.add(second, std::string(name_of(cell.category)), cell.bytes);
      op.add(second, op_name(cell.op), cell.bytes);
      module.add(second, module_name(cell.module), cell.bytes);
    }
    for (const SavedCell& s : memory.saved)
      if (!s.alias) saved.add(second, op_name(s.op), s.bytes);
    (second ? c.rounded.b : c.rounded.a) = memory.peak_rounded;
    (second ? c.reserved.b : c.reserved.a) = memory.peak_reserved;
    for (const WorkCell& w : run.books.for_work().work) {
      launches.add(second, op_name(w.op), w.n_launches());
      flop.add(second, std::string(name_of(w.phase)), flops(w.cost));
      traffic.add(second, std::string(name_of(w.phase)), w.cost.bytes_read + w.cost.bytes_written);
      if (w.phase == Phase::recompute) (second ? c.recompute_flops.b : c.recompute_flops.a) += flops(w.cost);
    }
  }
  c.peak_by_category = category.finish();
  c.peak_by_op = op.finish();
  c.peak_by_module = module.finish();
  c.saved_by_op = saved.finish();
  c.launches_by_op = launches.finish();
  c.flops_by_phase = flop.finish();
  c.traffic_by_phase = traffic.finish();
  c.rounded.name = "rounded at the peak";
  c.reserved.name = "reserved at the peak";
  c.recompute_flops.name = "recompute FLOPs";
  c.time_a = time_per_step(a.books);
  c.time_b = time_per_step(b.books);
  if (!a.losses.empty()) c.first_loss.a = a.losses.front(), c.last_loss.a = a.losses.back();
  if (!b.losses.empty()) c.first_loss.b = b.losses.front(), c.last_loss.b = b.losses.back();
  c.n_losses = static_cast<int64_t>(std::min(a.losses.size(), b.losses.size()));
  for (size_t i = 0; i < static_cast<size_t>(c.n_losses); ++i)
    c.n_losses_equal += LossPair{a.losses[i], b.losses[i]}.bitwise_equal();
  return c;
}

namespace {

using Format = std::function<std::string(int64_t)>;

std::string ratio(int64_t a, int64_t b) {
  return a == 0 ? (b == 0 ? "1" : "-") : fmt::format("{:.3f}", static_cast<double>(b) / static_cast<double>(a));
}

std::string signed_text(int64_t n, const Format& format) { return (n > 0 ? "+" : "") + format(n); }

void write_breakdown(std::ostream& out, std::string_view title, std::string_view mark, const Breakdown& b,
                     const Comparison& c, size_t top, const Format& format) {
  fmt::print(out, "\n{}\n", title);
  Table t("lrrrr", {b.total.name, fmt::format("{} {}", c.name_a, mark), fmt::format("{} {}", c.name_b, mark),
                    "difference [d]", "ratio [d]"});
  const auto line = [&](const std::string& name, const Delta& d) {
    t.row({name, format(d.a), format(d.b), signed_text(d.difference(), format), ratio(d.a, d.b)});
  };
  Delta other;
  for (size_t i = 0; i < b.rows.size(); ++i) {
    if (i < top) {
      line(b.rows[i].name, b.rows[i]);
    } else {
      other.a += b.rows[i].a;
      other.b += b.rows[i].b;
    }
  }
  if (b.rows.size() > top) line(fmt::format("other ({} rows)", b.rows.size() - top), other);
  t.rule();
  line("sum", b.total);
  t.print(out);
}

}  // namespace

void write_comparison(std::ostream& out, const Comparison& c, const ReportOptions& options) {
  const auto top = static_cast<size_t>(std::max(options.top, 0));
  write_legend(out);
  if (c.config.empty()) {
    fmt::print(out, "\n{} and {} have the same settings\n", c.name_a, c.name_b);
  } else {
    out << "\nSettings that differ\n";
    Table t("lll", {"setting", c.name_a, c.name_b});
    for (const ConfigDifference& d : c.config)
      t.row({d.key, d.a.value_or("(absent)"), d.b.value_or("(absent)")});
    t.print(out);
  }
  const Format count = [](int64_t n) { return format_count(n); };
  const Format scaled = [](int64_t n) { return format_scaled(static_cast<double>(n)); };
  const Format bytes = [](int64_t n) { return format_bytes(static_cast<double>(n)); };
  write_breakdown(out, "Bytes at the peak by category", "[c]", c.peak_by_category, c, kCategories, count);
  Table t("lrrrr", {"beside it", c.name_a, c.name_b, "difference [d]", "ratio [d]"});
  for (const Delta& d : {c.rounded, c.reserved})
    t.row({d.name + " [c]", count(d.a), count(d.b), signed_text(d.difference(), count), ratio(d.a, d.b)});
  t.print(out);
  write_breakdown(out, "Bytes at the peak by op, largest change first", "[c]", c.peak_by_op, c, top, count);
  write_breakdown(out, "Bytes at the peak by module, largest change first", "[c]", c.peak_by_module, c, top,
                  count);
  write_breakdown(out, "Kept for backward at its fullest, by op", "[c]", c.saved_by_op, c, top, count);
  write_breakdown(out, "Launches of the last step by op", "[c]", c.launches_by_op, c, top, count);
  write_breakdown(out, "FLOPs of the last step by phase", "[f]", c.flops_by_phase, c, kPhases, scaled);
  write_breakdown(out, "Bytes moved in the last step by phase", "[f]", c.traffic_by_phase, c, kPhases, bytes);
  out << "\nTime per step [m]\n";
  Table time("lrrrr", {"run", "median", "least", "most", "steps"});
  for (const auto& [name, s] : {std::pair{c.name_a, c.time_a}, std::pair{c.name_b, c.time_b}}) {
    const auto text = [](int64_t ns) { return format_seconds(static_cast<double>(ns) * 1e-9); };
    time.row({name, text(s.median_ns), text(s.min_ns), text(s.max_ns), std::to_string(s.n_steps)});
  }
  time.print(out);
  if (c.time_a.median_ns > 0 && c.time_b.median_ns > 0) {
    const bool apart = c.time_a.max_ns < c.time_b.min_ns || c.time_b.max_ns < c.time_a.min_ns;
    fmt::print(out, "  ratio of medians [d] {}; the ranges {}\n", ratio(c.time_a.median_ns, c.time_b.median_ns),
               apart ? "do not overlap" : "overlap, so the difference may be noise");
  }
  fmt::print(out, "\nLoss [m]\n  first step: {}\n  last step:  {}\n", c.first_loss.in_words(),
             c.last_loss.in_words());
  if (c.n_losses > 0)
    fmt::print(out, "  bitwise equal in {} of {} steps\n", format_count(c.n_losses_equal),
               format_count(c.n_losses));
}

namespace {

Json delta_json(const Delta& d) {
  return {{"name", d.name}, {"a", d.a}, {"b", d.b}, {"difference", d.difference()}};
}

Json breakdown_json(const Breakdown& b) {
  std::vector<Json> rows;
  for (const Delta& d : b.rows) rows.push_back(Json::array({d.name, d.a, d.b, d.difference()}));
  Json j = delta_json(b.total);
  j.update(table_json({"name", "a", "b", "difference"}, std::move(rows)));
  return j;
}

Json spread_json(const TimeSpread& s) {
  return {{"n_steps", s.n_steps}, {"median_ns", s.median_ns}, {"min_ns", s.min_ns}, {"max_ns", s.max_ns}};
}

Json loss_json(const LossPair& l) {
  const auto value = [](const std::optional<double>& v) {
    return v && std::isfinite(*v) ? Json(*v) : Json(nullptr);
  };
  return {
      {"a", value(l.a)}, {"b", value(l.b)}, {"bitwise_equal", l.bitwise_equal()}, {"in_words", l.in_words()}};
}

}  // namespace

std::string to_json(const Comparison& c) {
  Json j;
  j["reckon_comparison_schema"] = 1;
  j["a"] = c.name_a;
  j["b"] = c.name_b;
  Json config = Json::array();
  const auto value = [](const std::optional<std::string>& v) { return v ? Json(*v) : Json(nullptr); };
  for (const ConfigDifference& d : c.config)
    config.push_back({{"key", d.key}, {"a", value(d.a)}, {"b", value(d.b)}});
  j["config"] = config;
  j["peak_by_category"] = breakdown_json(c.peak_by_category);
  j["peak_by_op"] = breakdown_json(c.peak_by_op);
  j["peak_by_module"] = breakdown_json(c.peak_by_module);
  j["saved_by_op"] = breakdown_json(c.saved_by_op);
  j["launches_by_op"] = breakdown_json(c.launches_by_op);
  j["flops_by_phase"] = breakdown_json(c.flops_by_phase);
  j["traffic_by_phase"] = breakdown_json(c.traffic_by_phase);
  j["rounded"] = delta_json(c.rounded);
  j["reserved"] = delta_json(c.reserved);
  j["recompute_flops"] = delta_json(c.recompute_flops);
  j["time_per_step"] = {{"a", spread_json(c.time_a)}, {"b", spread_json(c.time_b)}};
  j["first_loss"] = loss_json(c.first_loss);
  j["last_loss"] = loss_json(c.last_loss);
  j["losses_bitwise_equal"] = {{"equal", c.n_losses_equal}, {"of", c.n_losses}};
  return to_text(j);
}

}  // namespace reckon::profiler
