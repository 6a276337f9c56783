#include "profiler/report.h"

#include <fmt/ostream.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "profiler/device_report.h"
#include "profiler/table.h"
#include "runtime/core/format.h"

namespace reckon::profiler {
namespace {

std::string in_short(int64_t bytes) { return bytes < 0 ? "unknown" : format_bytes(static_cast<double>(bytes)); }
std::string flop_text(int64_t n) { return n == 0 ? "0" : format_scaled(static_cast<double>(n)); }
std::string seconds_text(int64_t ns) { return format_seconds(static_cast<double>(ns) * 1e-9); }

std::string name_of_books(const StepBooks& b) {
  return b.step < 0 ? "outside of steps" : fmt::format("step {}", b.step);
}

std::string ratio_text(int64_t a, int64_t b) {
  return b == 0 ? "-" : fmt::format("{:.2f}", static_cast<double>(a) / static_cast<double>(b));
}

template <class Cells>
ModuleNames names_of_modules(const Cells& cells, int depth) {
  ModuleNames names(depth);
  for (const auto& c : cells) names.add(c.module);
  return names;
}

void write_memory_by_category(std::ostream& out, const StepBooks& b) {
  fmt::print(out, "Memory at the peak of {}\n", name_of_books(b));
  if (b.peak_at.event >= 0)
    fmt::print(out, "  reached at event {} of {}, in {} of module {}, phase {}\n",
               format_count(b.peak_at.event), format_count(b.n_events), op_name(b.peak_at.op),
               module_name(b.peak_at.module), name_of(b.peak_at.phase));
  const auto requested = b.peak_by_category(), rounded = b.rounded_by_category();
  Table t("lrrrrr",
          {"category", "requested bytes [c]", "[c]", "share [d]", "rounded bytes [c]", "own maximum [c]"});
  for (size_t c = 0; c < kCategories; ++c)
    if (requested[c] || b.max_by_category[c])
      t.row({std::string(name_of(static_cast<Category>(c))), format_count(requested[c]), in_short(requested[c]),
             percent(requested[c], b.peak_bytes), format_count(rounded[c]), in_short(b.max_by_category[c])});
  t.rule();
  t.row({"peak (sum)", format_count(b.peak_bytes), in_short(b.peak_bytes), percent(b.peak_bytes, b.peak_bytes),
         format_count(b.peak_rounded)});
  t.row({"free in segments", "", "", "", format_count(b.peak_reserved - b.peak_rounded)});
  t.row(
      {"reserved", "", in_short(b.peak_reserved), "", format_count(b.peak_reserved), in_short(b.max_reserved)});
  t.print(out);
}

void write_phases(std::ostream& out, const StepBooks& memory, const StepBooks& work) {
  const ByPhase<Cost> cost = work.cost_by_phase();
  const ByPhase<int64_t> time = work.time_by_phase();
  ByPhase<int64_t> launches{};
  for (const WorkCell& w : work.work) launches[static_cast<size_t>(w.phase)] += w.n_launches();
  fmt::print(out, "\nPhases (memory of {}, work of {})\n", name_of_books(memory), name_of_books(work));
  Table t("lrrrrrrrr", {"phase", "most live [c]", "matmul [f]", "vector [f]", "special [f]", "bytes moved [f]",
                        "FLOP/byte [d]", "launches [c]", "time in ops [m]"});
  Cost sum;
  int64_t all_launches = 0, all_time = 0;
  const auto line = [&](std::string name, int64_t live, const Cost& c, int64_t n, int64_t ns) {
    t.row({std::move(name), live < 0 ? "" : in_short(live), flop_text(c.matmul_flops),
           flop_text(c.vector_flops), flop_text(c.special), in_short(c.bytes_read + c.bytes_written),
           ratio_text(flops(c), c.bytes_read + c.bytes_written), format_count(n), seconds_text(ns)});
  };
  for (size_t p = 0; p < kPhases; ++p) {
    if (memory.max_by_phase[p] < 0 && launches[p] == 0 && cost[p] == Cost{}) continue;
    line(std::string(name_of(static_cast<Phase>(p))), memory.max_by_phase[p], cost[p], launches[p], time[p]);
    sum += cost[p];
    all_launches += launches[p];
    all_time += time[p];
  }
  t.rule();
  line("step", memory.peak_bytes, sum, all_launches, all_time);
  t.print(out);
  const FlopSplit f = split_flops(cost);
  fmt::print(
      out,
      "  FLOPs [f]: model {} (forward, loss, backward) + recompute {} + optimizer {} + other {} = executed {}; "
      "recompute adds {} [d] to the model's\n",
      flop_text(f.model), flop_text(f.recompute), flop_text(f.optimizer), flop_text(f.other),
      flop_text(f.executed()), percent(f.recompute, f.model));
  const auto kinds = work.launches_by_kind();
  fmt::print(out, "  launches [c]:");
  for (size_t k = 0; k < kLaunchKinds; ++k)
    fmt::print(out, " {} {}", name_of(static_cast<LaunchKind>(k)), format_count(kinds[k]));
  fmt::print(out, "\n");
}

}  // namespace

void write_legend(std::ostream& out) {
  out << "[m] measured   [c] counted, event by event   [d] derived from other figures   [f] formula: the work "
         "an op declares\n";
}

void write_summary(std::ostream& out, const RunRecord& run, const ReportOptions& options) {
  for (const auto& [key, value] : run.config.entries) fmt::print(out, "  {:<18} {}\n", key, value);
  if (!run.config.entries.empty()) out << '\n';
  const StepBooks& memory = run.books.for_memory();
  const StepBooks& work = run.books.for_work();
  write_memory_by_category(out, memory);
  fmt::print(out, "  kept for backward [c]: {} at its fullest, beside {} that would exist anyway (aliases)\n",
             bytes_exact_and_short(memory.saved_bytes), in_short(memory.saved_alias_bytes));
  if (run.books.n_unknown_blocks)
    fmt::print(out, "  NOT COMPLETE: {} events were about blocks allocated before the ledger listened\n",
               format_count(run.books.n_unknown_blocks));
  write_phases(out, memory, work);
  out << '\n';
  write_module_flops(out, work, options);
}

void write_peak_table(std::ostream& out, const StepBooks& books, const ReportOptions& options) {
  const ModuleNames modules = names_of_modules(books.cells, options.module_depth);
  std::map<std::tuple<std::string, std::string, Phase, Category>, Cell> merged;
  for (const Cell& c : books.cells) {
    Cell& m = merged[{op_name(c.op), modules.of(c.module), c.phase, c.category}];
    m.bytes += c.bytes;
    m.rounded += c.rounded;
    m.count += c.count;
  }
  std::vector<std::pair<decltype(merged)::key_type, Cell>> order(merged.begin(), merged.end());
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.second.bytes > b.second.bytes; });
  fmt::print(out, "Who holds the peak of {}: op x module x phase of birth x category\n", name_of_books(books));
  Table t("llllrrrr",
          {"op", "module", "phase", "category", "bytes [c]", "share [d]", "rounded [c]", "blocks [c]"});
  Cell other, sum;
  const auto add = [](Cell& to, const Cell& c) {
    to.bytes += c.bytes;
    to.rounded += c.rounded;
    to.count += c.count;
  };
  const auto figures = [&](std::vector<std::string> head, const Cell& c) {
    for (std::string s : {format_count(c.bytes), percent(c.bytes, books.peak_bytes), format_count(c.rounded),
                          format_count(c.count)})
      head.push_back(std::move(s));
    t.row(std::move(head));
  };
  const size_t shown = std::min(order.size(), static_cast<size_t>(std::max(options.top, 0)));
  for (size_t i = 0; i < order.size(); ++i) {
    const auto& [key, cell] = order[i];
    add(sum, cell);
    if (i < shown)
      figures({std::get<0>(key), std::get<1>(key), std::string(name_of(std::get<2>(key))),
               std::string(name_of(std::get<3>(key)))},
              cell);
    else
      add(other, cell);
  }
  if (shown < order.size()) figures({fmt::format("other ({} cells)", order.size() - shown), "", "", ""}, other);
  t.rule();
  figures({"sum", "", "", ""}, sum);
  t.print(out);
  fmt::print(out, "  {} the peak of {} bytes\n", sum.bytes == books.peak_bytes ? "equals" : "DIFFERS FROM",
             format_count(books.peak_bytes));
}

void write_live_set(std::ostream& out, const StepBooks& books, const ReportOptions& options) {
  fmt::print(out, "Largest of the {} blocks live at the peak of {}\n", format_count(books.n_live_at_peak),
             name_of_books(books));
  Table t("rlllllr", {"bytes [c]", "category", "label", "op", "module", "phase", "born in step"});
  int64_t rest = books.peak_bytes;
  const size_t shown = std::min(books.largest.size(), static_cast<size_t>(std::max(options.top, 0)));
  for (size_t i = 0; i < shown; ++i) {
    const LiveBlock& b = books.largest[i];
    rest -= b.bytes;
    t.row({format_count(b.bytes),
           std::string(name_of(b.category)) + (b.saved && b.category != Category::saved ? " (kept)" : ""),
           std::string(name_of(b.label)), op_name(b.op), module_name(b.module), std::string(name_of(b.phase)),
           std::to_string(b.step)});
  }
  if (const int64_t n = books.n_live_at_peak - static_cast<int64_t>(shown); n > 0)
    t.row({format_count(rest), fmt::format("other ({} blocks)", format_count(n))});
  t.rule();
  t.row({format_count(books.peak_bytes), "peak"});
  t.print(out);
}

void write_saved(std::ostream& out, const StepBooks& books, const ReportOptions& options) {
  const ModuleNames modules = names_of_modules(books.saved, options.module_depth);
  std::map<std::tuple<bool, std::string, std::string, Category>, SavedCell> merged;
  for (const SavedCell& c : books.saved) {
    SavedCell& m = merged[{c.alias, op_name(c.op), modules.of(c.module), c.category}];
    m.bytes += c.bytes;
    m.count += c.count;
  }
  std::vector<std::pair<decltype(merged)::key_type, SavedCell>> order(merged.begin(), merged.end());
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.second.bytes > b.second.bytes; });
  fmt::print(out, "Kept for backward at its fullest in {}\n", name_of_books(books));
  Table t("lllrrr", {"op", "module", "category", "bytes [c]", "share [d]", "blocks [c]"});
  for (const bool alias : {false, true}) {
    SavedCell other, sum;
    size_t n = 0, hidden = 0;
    for (const auto& [key, cell] : order) {
      if (std::get<0>(key) != alias) continue;
      sum.bytes += cell.bytes;
      sum.count += cell.count;
      if (n++ < static_cast<size_t>(std::max(options.top, 0))) {
        t.row({std::get<1>(key), std::get<2>(key), std::string(name_of(std::get<3>(key))),
               format_count(cell.bytes), alias ? "" : percent(cell.bytes, books.saved_bytes),
               format_count(cell.count)});
      } else {
        ++hidden;
        other.bytes += cell.bytes;
        other.count += cell.count;
      }
    }
    if (hidden)
      t.row({fmt::format("other ({} cells)", hidden), "", "", format_count(other.bytes), "",
             format_count(other.count)});
    if (n == 0 && alias) continue;
    t.rule();
    t.row({alias ? "aliases: exist anyway" : "kept only for backward", "", "", format_count(sum.bytes), "",
           format_count(sum.count)});
    if (!alias) t.rule();
  }
  t.print(out);
}

void write_work(std::ostream& out, const StepBooks& books, const ReportOptions& options) {
  struct Row {
    int64_t calls = 0, time = 0;
    std::array<int64_t, kLaunchKinds> launches{};
    Cost cost;
  };
  std::map<std::pair<std::string, Phase>, Row> merged;
  Row sum;
  const auto add = [](Row& r, const Row& o) {
    r.calls += o.calls;
    r.time += o.time;
    for (size_t k = 0; k < kLaunchKinds; ++k) r.launches[k] += o.launches[k];
    r.cost += o.cost;
  };
  for (const WorkCell& w : books.work) {
    const Row row{w.calls, w.time_ns, w.launches, w.cost};
    add(merged[{op_name(w.op), w.phase}], row);
    add(sum, row);
  }
  std::vector<std::pair<std::pair<std::string, Phase>, Row>> order(merged.begin(), merged.end());
  std::stable_sort(order.begin(), order.end(), [&](const auto& a, const auto& b) {
    // By time where there is any, else (a dry run) by work.
    return sum.time > 0 ? a.second.time > b.second.time : flops(a.second.cost) > flops(b.second.cost);
  });
  fmt::print(out, "Work of {} by op and phase\n", name_of_books(books));
  // A column per kind of launch that occurs.
  std::vector<std::string> heads{"op", "phase", "calls [c]"};
  for (size_t k = 0; k < kLaunchKinds; ++k)
    if (sum.launches[k]) heads.push_back(fmt::format("{} launches [c]", name_of(static_cast<LaunchKind>(k))));
  for (const char* h : {"matmul [f]", "vector [f]", "special [f]", "bytes moved [f]", "time [m]", "share [d]"})
    heads.push_back(h);
  Table t("ll" + std::string(heads.size() - 2, 'r'), heads);
  const auto line = [&](std::string op, std::string phase, const Row& r) {
    std::vector<std::string> cells{std::move(op), std::move(phase), format_count(r.calls)};
    for (size_t k = 0; k < kLaunchKinds; ++k)
      if (sum.launches[k]) cells.push_back(format_count(r.launches[k]));
    for (int64_t n : {r.cost.matmul_flops, r.cost.vector_flops, r.cost.special}) cells.push_back(flop_text(n));
    cells.push_back(in_short(r.cost.bytes_read + r.cost.bytes_written));
    cells.push_back(seconds_text(r.time));
    cells.push_back(percent(r.time, sum.time));
    t.row(std::move(cells));
  };
  Row other;
  const size_t shown = std::min(order.size(), static_cast<size_t>(std::max(options.top, 0)));
  for (size_t i = 0; i < order.size(); ++i) {
    const auto& [key, r] = order[i];
    if (i < shown)
      line(key.first, std::string(name_of(key.second)), r);
    else
      add(other, r);
  }
  if (shown < order.size()) line(fmt::format("other ({} rows)", order.size() - shown), "", other);
  t.rule();
  line("sum", "", sum);
  t.print(out);
  if (books.duration_ns > 0)
    fmt::print(out, "  {} [m]: {}; outside of ops {} [d] (host work between ops, observers)\n",
               name_of_books(books), seconds_text(books.duration_ns),
               seconds_text(books.duration_ns - sum.time));
}

void write_module_flops(std::ostream& out, const StepBooks& books, const ReportOptions& options) {
  const ModuleNames modules = names_of_modules(books.work, options.module_depth);
  constexpr std::array columns{Phase::forward, Phase::backward, Phase::recompute, Phase::optimizer};
  std::map<std::string, std::array<int64_t, 6>> merged;  // the columns, other, sum
  std::array<int64_t, 6> sum{};
  for (const WorkCell& w : books.work) {
    // The loss is part of forward here; init, data and communication are `other`.
    const Phase phase = w.phase == Phase::loss ? Phase::forward : w.phase;
    const auto found = std::find(columns.begin(), columns.end(), phase);
    const auto column = static_cast<size_t>(found - columns.begin());
    auto& row = merged[modules.of(w.module)];
    for (auto* r : {&row, &sum}) {
      (*r)[column] += flops(w.cost);
      (*r)[5] += flops(w.cost);
    }
  }
  std::vector<std::pair<std::string, std::array<int64_t, 6>>> order(merged.begin(), merged.end());
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.second[5] > b.second[5]; });
  fmt::print(out, "FLOPs of {} by module (matmul + vector)\n", name_of_books(books));
  Table t("lrrrrrrr", {"module", "forward+loss [f]", "backward [f]", "recompute [f]", "optimizer [f]",
                       "other [f]", "sum [f]", "share [d]"});
  const auto line = [&](std::string name, const std::array<int64_t, 6>& r) {
    std::vector<std::string> cells{std::move(name)};
    for (int64_t n : r) cells.push_back(flop_text(n));
    cells.push_back(percent(r[5], sum[5]));
    t.row(std::move(cells));
  };
  std::array<int64_t, 6> other{};
  const size_t shown = std::min(order.size(), static_cast<size_t>(std::max(options.top, 0)));
  for (size_t i = 0; i < order.size(); ++i) {
    if (i < shown)
      line(order[i].first, order[i].second);
    else
      for (size_t c = 0; c < other.size(); ++c) other[c] += order[i].second[c];
  }
  if (shown < order.size()) line(fmt::format("other ({} modules)", order.size() - shown), other);
  t.rule();
  line("sum", sum);
  t.print(out);
}

void write_series(std::ostream& out, const RunBooks& books, const ReportOptions& options) {
  fmt::print(out, "Steps\n");
  Table t("rrrrrrrr", {"step", "peak bytes [c]", "reserved [c]", "live at end [c]", "kept [c]", "launches [c]",
                       "FLOPs [f]", "time [m]"});
  const size_t n = books.series.size();
  const auto edge = static_cast<size_t>(std::max(options.top / 2, 1));
  for (size_t i = 0; i < n; ++i) {
    if (i == edge && n > 2 * edge) {
      t.row({"...", fmt::format("({} steps)", n - 2 * edge)});
      i = n - edge;
    }
    const StepLine& s = books.series[i];
    t.row({std::to_string(s.step), format_count(s.peak_bytes), in_short(s.peak_reserved),
           format_count(s.live_at_end), in_short(s.saved_bytes), format_count(s.n_launches),
           flop_text(flops(s.cost)), seconds_text(s.duration_ns)});
  }
  t.print(out);
}

void write_report(std::ostream& out, const RunRecord& run, const ReportOptions& options) {
  const StepBooks& memory = run.books.for_memory();
  write_legend(out);
  out << '\n';
  write_summary(out, run, options);
  out << '\n';
  write_timeline(out, memory, options);
  out << '\n';
  write_peak_table(out, memory, options);
  out << '\n';
  write_live_set(out, memory, options);
  out << '\n';
  write_saved(out, memory, options);
  out << '\n';
  write_work(out, run.books.for_work(), options);
  if (!run.books.series.empty()) {
    out << '\n';
    write_series(out, run.books, options);
  }
  if (run.process) {
    out << '\n';
    write_process(out, *run.process);
  }
  if (run.device) {
    out << '\n';
    write_device(out, *run.device, run.books.for_work(), options);
  }
}

}  // namespace reckon::profiler
