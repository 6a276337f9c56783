// Tables and pictures of the books for a terminal. Every figure is marked: [m] measured, [c] counted from
// events, [d] derived from other figures, [f] formula (the work an op declares). Called by the command line.
#pragma once

#include <ostream>

#include "profiler/books.h"
#include "profiler/report_options.h"
#include "runtime/memory/arena.h"

namespace reckon::profiler {

void write_legend(std::ostream& out);
// Configuration, peak by category and phase, FLOPs by module and phase, launches, traffic, saved bytes.
void write_summary(std::ostream& out, const RunRecord& run, const ReportOptions& options = {});
// op x module x phase x category at the peak; the last line is the peak.
void write_peak_table(std::ostream& out, const StepBooks& books, const ReportOptions& options = {});
void write_live_set(std::ostream& out, const StepBooks& books, const ReportOptions& options = {});
void write_saved(std::ostream& out, const StepBooks& books, const ReportOptions& options = {});
// Time, calls, launches and FLOPs by op.
void write_work(std::ostream& out, const StepBooks& books, const ReportOptions& options = {});
void write_module_flops(std::ostream& out, const StepBooks& books, const ReportOptions& options = {});
// Live bytes over one step, stacked by category.
void write_timeline(std::ostream& out, const StepBooks& books, const ReportOptions& options = {});
// Reserved bytes against what the system says this process holds.
void write_process(std::ostream& out, const ProcessBooks& process);
void write_series(std::ostream& out, const RunBooks& books, const ReportOptions& options = {});
// All of the above.
void write_report(std::ostream& out, const RunRecord& run, const ReportOptions& options = {});

// Arena figures and /proc/self/status of this moment; `observer_bytes` is what the ledger holds itself
// (Ledger::own_bytes), so that its share of the heap has a line of its own.
ProcessBooks measure_process(const Arena& arena, int64_t observer_bytes = -1);

}  // namespace reckon::profiler
