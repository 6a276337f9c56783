#include "profiler/report.h"

#include <fmt/ostream.h>

#include <algorithm>

#include "profiler/book_columns.h"
#include "profiler/device_report.h"
#include "profiler/text_table.h"
#include "runtime/core/format.h"

namespace reckon::profiler {
namespace {

std::string flop_text(int64_t n) { return number_text(n, Format::scaled); }
std::string seconds_text(int64_t ns) { return number_text(ns, Format::time); }

std::string name_of_books(const StepBooks& b) {
  return b.step < 0 ? "outside of steps" : fmt::format("step {}", b.step);
}

// Copies of the rows with their modules as they are shown: shortened, and with the number
// of siblings that share a name.
template <class T>
std::vector<T> with_short_modules(std::vector<T> rows, int depth) {
  ModuleNames names(depth);
  for (const T& r : rows) names.add(r.module);
  for (T& r : rows) r.module = intern(names.of(r.module));
  return rows;
}

struct CategoryLine {
  Category category{};
  int64_t requested = 0, rounded = 0, most = 0;
};
const Columns<CategoryLine> category_columns{
    {"category", &CategoryLine::category},
    {"requested bytes", &CategoryLine::requested, {.mark = Origin::counted}},
    {"requested, short",
     &CategoryLine::requested,
     {.heading = " ", .format = Format::bytes, .mark = Origin::counted, .place = Place::text}},
    share(&CategoryLine::requested),
    {"rounded bytes", &CategoryLine::rounded, {.mark = Origin::counted}},
    {"own maximum", &CategoryLine::most, {.format = Format::bytes, .mark = Origin::counted, .sum = Sum::none}},
};

void write_memory_by_category(std::ostream& out, const StepBooks& b) {
  fmt::print(out, "Memory at the peak of {}\n", name_of_books(b));
  if (b.peak_at.event >= 0)
    fmt::print(out, "  reached at event {} of {}, in {} of module {}, phase {}\n",
               format_count(b.peak_at.event), format_count(b.n_events), op_name(b.peak_at.op),
               module_name(b.peak_at.module), name_of(b.peak_at.phase));
  const auto requested = b.peak_by_category(), rounded = b.rounded_by_category();
  const CategoryLine peak{.requested = b.peak_bytes, .rounded = b.peak_rounded};
  TextTable t(category_columns, peak);
  for (size_t c = 0; c < kCategories; ++c)
    if (requested[c] || b.max_by_category[c])
      t.row({static_cast<Category>(c), requested[c], rounded[c], b.max_by_category[c]});
  t.rule();
  t.total("peak (sum)", peak);
  t.cells({"free in segments", "", "", "", format_count(b.peak_reserved - b.peak_rounded)});
  t.cells({"reserved", "", number_text(b.peak_reserved, Format::bytes), "", format_count(b.peak_reserved),
           number_text(b.max_reserved, Format::bytes)});
  out << t;
}

struct PhaseLine {
  Phase phase{};
  std::optional<int64_t> most_live;  // absent: the phase did not occur
  Cost cost;
  int64_t launches = 0, time_ns = 0;
};
const Columns<PhaseLine>& phase_columns() {
  static const Columns<PhaseLine> list{
      {"phase", &PhaseLine::phase},
      {"most live",
       &PhaseLine::most_live,
       {.format = Format::bytes, .mark = Origin::counted, .sum = Sum::derived, .absent = ""}},
      inside<PhaseLine>(&PhaseLine::cost, TableOf<Cost>::columns),
      {"FLOP/byte",
       [](const PhaseLine& p) -> std::string {
         const int64_t moved = p.cost.bytes_read + p.cost.bytes_written;
         if (moved == 0) return "-";
         return fmt::format("{:.2f}", static_cast<double>(flops(p.cost)) / static_cast<double>(moved));
       },
       {.mark = Origin::derived, .sum = Sum::derived, .right = true}},
      {"launches", &PhaseLine::launches, {.mark = Origin::counted}},
      {"time in ops", &PhaseLine::time_ns, {.format = Format::time, .mark = Origin::measured}},
  };
  return list;
}

void write_phases(std::ostream& out, const StepBooks& memory, const StepBooks& work) {
  const ByPhase<Cost> cost = work.cost_by_phase();
  const ByPhase<int64_t> time = work.time_by_phase();
  ByPhase<int64_t> launches{};
  for (const WorkCell& w : work.work) launches[static_cast<size_t>(w.phase)] += w.n_launches();
  fmt::print(out, "\nPhases (memory of {}, work of {})\n", name_of_books(memory), name_of_books(work));
  std::vector<PhaseLine> lines;
  for (size_t p = 0; p < kPhases; ++p) {
    const int64_t live = memory.max_by_phase[p];
    if (live < 0 && launches[p] == 0 && cost[p] == Cost{}) continue;
    lines.push_back(
        {static_cast<Phase>(p), live < 0 ? std::nullopt : std::optional(live), cost[p], launches[p], time[p]});
  }
  PhaseLine sum = sum_of(phase_columns(), lines);
  sum.most_live = memory.peak_bytes;
  TextTable t(phase_columns(), sum);
  t.rows(lines);
  t.rule();
  t.total("step", sum);
  out << t;
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

// FLOPs of a module, by the phases that are shown; the loss is part of forward here.
struct ModuleFlops {
  NameId module{};
  int64_t forward = 0, backward = 0, recompute = 0, optimizer = 0, other = 0, sum = 0;
  int64_t& of(Phase p) {
    switch (p) {
      case Phase::forward:
      case Phase::loss:
        return forward;
      case Phase::backward:
        return backward;
      case Phase::recompute:
        return recompute;
      case Phase::optimizer:
        return optimizer;
      default:
        return other;
    }
  }
};
const How how{.format = Format::scaled, .mark = Origin::formula};
const Columns<ModuleFlops> module_flop_columns{
    {"module", &ModuleFlops::module, {.absent = "(top)"}},
    {"forward+loss", &ModuleFlops::forward, how},
    {"backward", &ModuleFlops::backward, how},
    {"recompute", &ModuleFlops::recompute, how},
    {"optimizer", &ModuleFlops::optimizer, how},
    {"other", &ModuleFlops::other, how},
    {"sum", &ModuleFlops::sum, how},
    share(&ModuleFlops::sum),
};

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
             bytes_exact_and_short(memory.saved_bytes), number_text(memory.saved_alias_bytes, Format::bytes));
  if (run.books.n_unknown_blocks)
    fmt::print(out, "  NOT COMPLETE: {} events were about blocks allocated before the ledger listened\n",
               format_count(run.books.n_unknown_blocks));
  write_phases(out, memory, work);
  out << '\n';
  write_module_flops(out, work, options);
}

void write_peak_table(std::ostream& out, const StepBooks& books, const ReportOptions& options) {
  const Columns<Cell>& columns = TableOf<Cell>::columns;
  const Cell sum = sum_of(columns, books.cells);
  fmt::print(out, "Who holds the peak of {}: op x module x phase of birth x category\n", name_of_books(books));
  TextTable t(columns, {.bytes = books.peak_bytes});
  t.top(merged(columns, with_short_modules(books.cells, options.module_depth), &Cell::bytes), options.top,
        "cells");
  t.rule();
  t.total("sum", sum);
  out << t;
  fmt::print(out, "  {} the peak of {} bytes\n", sum.bytes == books.peak_bytes ? "equals" : "DIFFERS FROM",
             format_count(books.peak_bytes));
}

void write_live_set(std::ostream& out, const StepBooks& books, const ReportOptions& options) {
  fmt::print(out, "Largest of the {} blocks live at the peak of {}\n", format_count(books.n_live_at_peak),
             name_of_books(books));
  TextTable t(TableOf<LiveBlock>::columns);
  // The books hold some of the blocks only, so the others are what is missing to the peak.
  int64_t rest = books.peak_bytes;
  const size_t shown = std::min(books.largest.size(), static_cast<size_t>(std::max(options.top, 0)));
  for (size_t i = 0; i < shown; ++i) {
    rest -= books.largest[i].bytes;
    t.row(books.largest[i]);
  }
  if (const int64_t n = books.n_live_at_peak - static_cast<int64_t>(shown); n > 0)
    t.cells({format_count(rest), fmt::format("other ({} blocks)", format_count(n))});
  t.rule();
  t.cells({format_count(books.peak_bytes), "peak"});
  out << t;
}

void write_saved(std::ostream& out, const StepBooks& books, const ReportOptions& options) {
  const Columns<SavedCell>& columns = TableOf<SavedCell>::columns;
  std::vector<SavedCell> kept, aliases;
  for (const SavedCell& c : with_short_modules(books.saved, options.module_depth))
    (c.alias ? aliases : kept).push_back(c);
  fmt::print(out, "Kept for backward at its fullest in {}\n", name_of_books(books));
  TextTable t(columns, {.bytes = books.saved_bytes});
  t.top(merged(columns, kept, &SavedCell::bytes), options.top, "cells");
  t.rule();
  t.total("kept only for backward", sum_of(columns, kept));
  t.rule();
  if (!aliases.empty()) {
    t.top(merged(columns, aliases, &SavedCell::bytes), options.top, "cells");
    t.rule();
    t.total("aliases: exist anyway", sum_of(columns, aliases));
  }
  out << t;
}

void write_work(std::ostream& out, const StepBooks& books, const ReportOptions& options) {
  const Columns<WorkCell>& columns = TableOf<WorkCell>::columns;
  const WorkCell sum = sum_of(columns, books.work);
  fmt::print(out, "Work of {} by op and phase\n", name_of_books(books));
  TextTable t(columns, sum);
  // By time where there is any, else (a dry run) by work.
  t.top(merged(columns, books.work,
               [&](const WorkCell& w) { return sum.time_ns > 0 ? w.time_ns : flops(w.cost); }),
        options.top, "rows");
  t.rule();
  t.total("sum", sum);
  out << t;
  if (books.duration_ns > 0)
    fmt::print(out, "  {} [m]: {}; outside of ops {} [d] (host work between ops, observers)\n",
               name_of_books(books), seconds_text(books.duration_ns),
               seconds_text(books.duration_ns - sum.time_ns));
}

void write_module_flops(std::ostream& out, const StepBooks& books, const ReportOptions& options) {
  std::vector<ModuleFlops> rows;
  for (const WorkCell& w : with_short_modules(books.work, options.module_depth)) {
    ModuleFlops& row = rows.emplace_back(ModuleFlops{.module = w.module});
    row.of(w.phase) = row.sum = flops(w.cost);
  }
  const ModuleFlops sum = sum_of(module_flop_columns, rows);
  fmt::print(out, "FLOPs of {} by module (matmul + vector)\n", name_of_books(books));
  TextTable t(module_flop_columns, sum);
  t.top(merged(module_flop_columns, rows, &ModuleFlops::sum), options.top, "modules");
  t.rule();
  t.total("sum", sum);
  out << t;
}

void write_series(std::ostream& out, const RunBooks& books, const ReportOptions& options) {
  fmt::print(out, "Steps\n");
  TextTable t(TableOf<StepLine>::columns);
  const size_t n = books.series.size();
  const auto edge = static_cast<size_t>(std::max(options.top / 2, 1));
  for (size_t i = 0; i < n; ++i) {
    if (i == edge && n > 2 * edge) {
      t.cells({"...", fmt::format("({} steps)", n - 2 * edge)});
      i = n - edge;
    }
    t.row(books.series[i]);
  }
  out << t;
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
