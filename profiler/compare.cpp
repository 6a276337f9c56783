#include "profiler/compare.h"

#include <fmt/ostream.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>

#include "profiler/book_columns.h"
#include "profiler/report.h"
#include "profiler/text_table.h"
#include "runtime/core/error.h"
#include "runtime/core/format.h"

namespace reckon::profiler {
namespace {

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

void Breakdown::take(std::map<std::string, Delta> by_name) {
  total.name = by.total;
  for (auto& [name, d] : by_name) {
    d.name = name;
    total.a += d.a;
    total.b += d.b;
    if (d.a || d.b) rows.push_back(d);
  }
  std::stable_sort(rows.begin(), rows.end(), [](const Delta& x, const Delta& y) {
    const int64_t dx = std::abs(x.difference()), dy = std::abs(y.difference());
    return dx != dy ? dx > dy : std::max(x.a, x.b) > std::max(y.a, y.b);
  });
}

const Breakdown& Comparison::of(std::string_view key) const {
  const auto at =
      std::find_if(breakdowns.begin(), breakdowns.end(), [&](const Breakdown& b) { return b.by.key == key; });
  RECKON_CHECK(at != breakdowns.end(), "the comparison has no breakdown '{}'", key);
  return *at;
}

Comparison compare(const RunRecord& a, const RunRecord& b, const ReportOptions& options) {
  Comparison c;
  c.config = differing_settings(a.config, b.config);
  // Without the number of siblings, so that 12 and 24 layers land in one row.
  const auto cells = [&](const RunRecord& run) {
    std::vector<Cell> out = run.books.for_memory().cells;
    for (Cell& cell : out) cell.module = intern(collapse_path(name_of(cell.module), options.module_depth));
    return out;
  };
  const auto saved = [](const RunRecord& run) {
    std::vector<SavedCell> out = run.books.for_memory().saved;
    std::erase_if(out, [](const SavedCell& s) { return s.alias; });
    return out;
  };
  for (const auto& breakdowns :
       {compare_rows(TableOf<Cell>::columns, cells(a), cells(b)),
        compare_rows(TableOf<SavedCell>::columns, saved(a), saved(b)),
        compare_rows(TableOf<WorkCell>::columns, a.books.for_work().work, b.books.for_work().work)})
    c.breakdowns.insert(c.breakdowns.end(), breakdowns.begin(), breakdowns.end());
  const StepBooks &memory_a = a.books.for_memory(), &memory_b = b.books.for_memory();
  const auto recompute = [](const RunRecord& run) {
    return split_flops(run.books.for_work().cost_by_phase()).recompute;
  };
  c.rounded = {"rounded at the peak", memory_a.peak_rounded, memory_b.peak_rounded};
  c.reserved = {"reserved at the peak", memory_a.peak_reserved, memory_b.peak_reserved};
  c.recompute_flops = {"recompute FLOPs", recompute(a), recompute(b)};
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

std::string ratio(int64_t a, int64_t b) {
  return a == 0 ? (b == 0 ? "1" : "-") : fmt::format("{:.3f}", static_cast<double>(b) / static_cast<double>(a));
}

// `first` heads the names; `mark` follows the names of the runs.
Columns<Delta> delta_columns(const std::string& first, const std::string& name_a, const std::string& name_b,
                             const std::string& mark, Format format) {
  const auto figure = [&](const std::string& name) { return How{.heading = name + mark, .format = format}; };
  return {
      {"name", &Delta::name, {.heading = first}},
      {"a", &Delta::a, figure(name_a)},
      {"b", &Delta::b, figure(name_b)},
      {"difference", &Delta::difference, {.format = format, .mark = Origin::derived, .sign = true}},
      {"ratio",
       [](const Delta& d) { return ratio(d.a, d.b); },
       {.mark = Origin::derived, .sum = Sum::derived, .place = Place::text, .right = true}},
  };
}

const Columns<Delta>& delta_columns() {
  static const Columns<Delta> list = delta_columns("name", "a", "b", "", Format::count);
  return list;
}

const Columns<TimeSpread> spread_columns{
    {"n_steps", &TimeSpread::n_steps},
    {"median_ns", &TimeSpread::median_ns},
    {"min_ns", &TimeSpread::min_ns},
    {"max_ns", &TimeSpread::max_ns},
};

Columns<ConfigDifference> config_columns(const std::string& name_a, const std::string& name_b) {
  return {
      {"key", &ConfigDifference::key, {.heading = "setting"}},
      {"a", &ConfigDifference::a, {.heading = name_a, .absent = "(absent)"}},
      {"b", &ConfigDifference::b, {.heading = name_b, .absent = "(absent)"}},
  };
}

void write_settings(std::ostream& out, const Comparison& c) {
  if (c.config.empty()) {
    fmt::print(out, "\n{} and {} have the same settings\n", c.name_a, c.name_b);
    return;
  }
  TextTable t(config_columns(c.name_a, c.name_b));
  t.rows(c.config);
  out << "\nSettings that differ\n" << t;
}

void write_times(std::ostream& out, const Comparison& c) {
  out << "\nTime per step [m]\n";
  Table time("lrrrr", {"run", "median", "least", "most", "steps"});
  for (const auto& [name, s] : {std::pair{c.name_a, c.time_a}, std::pair{c.name_b, c.time_b}}) {
    const auto text = [](int64_t ns) { return number_text(ns, Format::time); };
    time.row({name, text(s.median_ns), text(s.min_ns), text(s.max_ns), std::to_string(s.n_steps)});
  }
  time.print(out);
  if (c.time_a.median_ns > 0 && c.time_b.median_ns > 0) {
    const bool apart = c.time_a.max_ns < c.time_b.min_ns || c.time_b.max_ns < c.time_a.min_ns;
    fmt::print(out, "  ratio of medians [d] {}; the ranges {}\n", ratio(c.time_a.median_ns, c.time_b.median_ns),
               apart ? "do not overlap" : "overlap, so the difference may be noise");
  }
}

}  // namespace

void write_breakdown(std::ostream& out, const Breakdown& b, const std::string& name_a,
                     const std::string& name_b, int top) {
  TextTable t(delta_columns(b.total.name, name_a, name_b, b.mark, b.format));
  t.top(b.rows, b.whole ? static_cast<int>(b.rows.size()) : top, "rows");
  t.rule();
  t.total("sum", b.total);
  out << "\n" << b.by.title << "\n" << t;
}

void write_comparison(std::ostream& out, const Comparison& c, const ReportOptions& options) {
  write_legend(out);
  write_settings(out, c);
  for (const Breakdown& b : c.breakdowns) {
    write_breakdown(out, b, c.name_a, c.name_b, options.top);
    if (b.by.key != "peak_by_category") continue;
    TextTable beside(delta_columns("beside it", c.name_a, c.name_b, "", Format::count));
    for (Delta d : {c.rounded, c.reserved}) {
      d.name += " [c]";
      beside.row(d);
    }
    out << beside;
  }
  write_times(out, c);
  fmt::print(out, "\nLoss [m]\n  first step: {}\n  last step:  {}\n", c.first_loss.in_words(),
             c.last_loss.in_words());
  if (c.n_losses > 0)
    fmt::print(out, "  bitwise equal in {} of {} steps\n", format_count(c.n_losses_equal),
               format_count(c.n_losses));
}

namespace {

Json loss_json(const LossPair& l) {
  const auto value = [](const std::optional<double>& v) {
    return v && std::isfinite(*v) ? Json(*v) : Json(nullptr);
  };
  return {
      {"a", value(l.a)}, {"b", value(l.b)}, {"bitwise_equal", l.bitwise_equal()}, {"in_words", l.in_words()}};
}

}  // namespace

std::string to_json(const Comparison& c) {
  const auto delta = [](const Delta& d) { return object_json(delta_columns(), d); };
  Json j;
  j["reckon_comparison_schema"] = 1;
  j["a"] = c.name_a;
  j["b"] = c.name_b;
  j["config"] = objects_json(config_columns("a", "b"), c.config);
  for (const Breakdown& b : c.breakdowns) {
    j[b.by.key] = delta(b.total);
    j[b.by.key].update(table_json(delta_columns(), b.rows));
  }
  j["rounded"] = delta(c.rounded);
  j["reserved"] = delta(c.reserved);
  j["recompute_flops"] = delta(c.recompute_flops);
  j["time_per_step"] = {{"a", object_json(spread_columns, c.time_a)},
                        {"b", object_json(spread_columns, c.time_b)}};
  j["first_loss"] = loss_json(c.first_loss);
  j["last_loss"] = loss_json(c.last_loss);
  j["losses_bitwise_equal"] = {{"equal", c.n_losses_equal}, {"of", c.n_losses}};
  return to_text(j);
}

}  // namespace reckon::profiler
