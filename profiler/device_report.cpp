#include "profiler/device_report.h"

#include <fmt/ostream.h>

#include <map>

#include "profiler/book_columns.h"
#include "profiler/device_closure.h"
#include "profiler/flop_gaps.h"
#include "profiler/text_table.h"
#include "runtime/core/format.h"

namespace reckon::profiler {
namespace {

std::string scaled_text(int64_t n) { return number_text(n, Format::scaled); }
std::string scaled_text(const std::optional<int64_t>& n) { return n ? scaled_text(*n) : "unknown"; }
std::string bytes_text(const std::optional<int64_t>& n) {
  return n ? number_text(*n, Format::bytes) : "unknown";
}
std::string time_text(int64_t ns) { return number_text(ns, Format::time); }

void write_completeness(std::ostream& out, const DeviceStep& s) {
  if (!s.complete())
    fmt::print(out,
               "  !!! NOT COMPLETE: {} records were dropped, {} buffers could not be read to their end. What "
               "is seen below is too little. !!!\n",
               format_count(s.n_dropped), format_count(s.n_damaged));
  if (s.n_ambiguous)
    fmt::print(out, "  !!! {} API calls claim to belong to two ops and are under \"outside of ops\" !!!\n",
               format_count(s.n_ambiguous));
}

void write_unfiled(std::ostream& out, const DeviceStep& s, const ReportOptions& options) {
  if (s.unfiled.empty()) return;
  out << "  Outside of ops, or of an op that is not known:\n";
  TextTable t(TableOf<UnfiledLine>::columns);
  t.top(s.unfiled, options.top, "kinds");
  out << t;
}

void write_kernels(std::ostream& out, const DeviceStep& s, const ReportOptions& options) {
  if (s.kernels.empty()) return;
  out << "Kernels by device time\n";
  TextTable t(TableOf<KernelLine>::columns);
  t.top(s.kernels, options.top, "kernels");
  out << t;
}

void write_traffic(std::ostream& out, const StepBooks& work, const CounterBooks& counted) {
  const CountedWork sum = sum_of(TableOf<CountedWork>::columns, counted.work);
  const Cost declared = sum_of(TableOf<WorkCell>::columns, work.work).cost;
  Table t("lrr", {"", "declared [f]", "hardware [m]"});
  t.row({"bytes read", bytes_text(declared.bytes_read), bytes_text(sum.dram_read) + " from DRAM"});
  t.row({"bytes written", bytes_text(declared.bytes_written), bytes_text(sum.dram_written) + " to DRAM"});
  t.row({"bytes through L2", "", bytes_text(sum.l2_bytes)});
  t.row({"special functions", scaled_text(declared.special), scaled_text(sum.special) + " (conversions too)"});
  t.print(out);
}

// Rows of one op and phase together; a reason whose size is unknown somewhere has no size.
struct MergedFlops {
  NameId op{};
  Phase phase{};
  int64_t needed = 0, executed = 0;
  std::optional<int64_t> hardware, unexplained;
  std::map<std::string, std::optional<int64_t>> reasons;
};

void add_reasons(MergedFlops& to, const FlopRow& row) {
  for (const GapReason& g : row.reasons) {
    const auto [at, first] = to.reasons.try_emplace(g.name, g.flops);
    if (!first) at->second = at->second && g.flops ? std::optional(*at->second + *g.flops) : std::nullopt;
  }
}

std::string reasons_text(const MergedFlops& m) {
  std::string text;
  for (const auto& [name, n] : m.reasons)
    text += fmt::format("{}{}{}", text.empty() ? "" : ", ", name, n ? " " + scaled_text(*n) : "");
  return text;
}

const How from_formula{.format = Format::scaled, .mark = Origin::formula};
const Columns<MergedFlops> flop_columns{
    {"op", &MergedFlops::op, {.absent = "(no op)"}},
    {"phase", &MergedFlops::phase},
    {"needed", &MergedFlops::needed, from_formula},
    {"executed", &MergedFlops::executed, from_formula},
    {"hardware", &MergedFlops::hardware, {.format = Format::scaled, .mark = Origin::measured}},
    {"hardware - needed",
     [](const MergedFlops& m) { return m.hardware ? std::optional(*m.hardware - m.needed) : std::nullopt; },
     {.format = Format::scaled, .mark = Origin::derived}},
    {"unexplained", &MergedFlops::unexplained, {.format = Format::scaled, .mark = Origin::derived}},
    {"reasons", reasons_text, {.sum = Sum::derived}},
};

}  // namespace

void write_observed_launches(std::ostream& out, const DeviceStep& s, const ReportOptions& options) {
  write_completeness(out, s);
  const Columns<DeviceCell>& columns = TableOf<DeviceCell>::columns;
  const DeviceCell sum = sum_of(columns, s.cells);
  TextTable t(columns, sum);
  t.top(merged(columns, s.cells, &DeviceCell::device_ns), options.top, "rows");
  t.rule();
  t.total("sum", sum);
  out << t;
  if (sum.calls_that_differ)
    fmt::print(out, "  DIFFERS: in {} of {} op calls the kernels seen are not the ones announced{}\n",
               format_count(sum.calls_that_differ), format_count(sum.calls),
               s.complete() ? "" : " (records are missing)");
  else
    fmt::print(out, "  in all {} op calls every launch announced was seen, and no other of our kernels\n",
               format_count(sum.calls));
  if (sum.untimed)
    fmt::print(out, "  {} launches have no times (not collected): device time is too short by theirs (+)\n",
               format_count(sum.untimed));
  write_unfiled(out, s, options);
}

void write_flop_columns(std::ostream& out, const StepBooks& work, const DeviceStep* traced,
                        const CounterBooks& counted, const ReportOptions& options) {
  const Columns<MergedFlops>& columns = flop_columns;
  std::vector<MergedFlops> rows;
  std::map<std::pair<NameId, Phase>, MergedFlops> reasons;
  MergedFlops all;
  for (const FlopRow& r : reconcile_flops(work, traced, counted)) {
    rows.push_back({r.op, r.phase, r.needed, r.executed, r.hardware, r.unexplained, {}});
    for (MergedFlops* m : {&reasons[{r.op, r.phase}], &all}) add_reasons(*m, r);
  }
  MergedFlops sum = sum_of(columns, rows);
  sum.reasons = all.reasons;
  rows = merged(columns, rows, &MergedFlops::executed);
  for (MergedFlops& m : rows) m.reasons = reasons[{m.op, m.phase}].reasons;
  fmt::print(out,
             "FLOPs by the maths, by what ran, by the hardware: {}, {} passes over as many steps from step {}, "
             "whose times are the counters'\n",
             counted.chip, counted.n_passes, counted.first_step);
  if (counted.n_dropped || counted.n_unfiled)
    fmt::print(out, "  !!! NOT COMPLETE: {} ranges were dropped, {} belong to no op !!!\n",
               format_count(counted.n_dropped), format_count(counted.n_unfiled));
  TextTable t(columns, sum);
  t.top(rows, options.top, "rows");
  t.rule();
  t.total("sum", sum);
  out << t;
  if (counted.joint_tensor_types) out << "  this chip counts bf16, f16 and tf32 products together\n";
  write_traffic(out, work, counted);
}

void write_device(std::ostream& out, const DeviceBooks& d, const StepBooks& work,
                  const ReportOptions& options) {
  fmt::print(out, "Seen on the device ({})\n", d.tracer);
  for (const std::string& note : d.notes) fmt::print(out, "  {}\n", note);
  if (d.steps_incomplete || d.steps_that_differ)
    fmt::print(out, "  of {} traced steps {} are not complete and {} differ from what was announced\n",
               format_count(d.steps_traced), format_count(d.steps_incomplete),
               format_count(d.steps_that_differ));
  if (d.step) {
    fmt::print(out, "Launches of step {} by op and phase\n", d.step->step);
    write_observed_launches(out, *d.step, options);
    if (work.step == d.step->step && work.duration_ns > 0)
      fmt::print(out, "  the device was busy for {} [m] of the step's {} [m], which tracing makes longer\n",
                 time_text(d.step->busy_ns), time_text(work.duration_ns));
    out << '\n';
    write_kernels(out, *d.step, options);
  }
  if (d.counters) {
    out << '\n';
    write_flop_columns(out, work, d.step ? &*d.step : nullptr, *d.counters, options);
  }
  if (d.closure) {
    out << '\n';
    write_closure(out, *d.closure);
  }
  fmt::print(out,
             "Observer: {} of host memory [m] and {} of host time [m] over {} traced steps; by its own account "
             "{} lost to it, {} to the driver loading code\n",
             bytes_text(d.observer_host_bytes), time_text(d.observer_host_ns), format_count(d.steps_traced),
             time_text(d.tracer_overhead_ns), time_text(d.module_loading_ns));
}

}  // namespace reckon::profiler
