// What was seen of the device, for a terminal: launches planned, made and seen, device time by op, FLOPs by
// formula and by hardware, and where the device's memory is. Marks as in profiler/report.h.
#pragma once

#include <ostream>
#include <string>
#include <string_view>

#include "profiler/books.h"
#include "profiler/device_books.h"
#include "profiler/report_options.h"

namespace reckon::profiler {

// `work`: the books of the traced step, for its duration and the declared FLOPs.
void write_device(std::ostream& out, const DeviceBooks& device, const StepBooks& work,
                  const ReportOptions& options = {});
void write_observed_launches(std::ostream& out, const DeviceStep& step, const ReportOptions& options = {});
void write_flop_columns(std::ostream& out, const StepBooks& work, const DeviceStep* traced,
                        const CounterBooks& counted, const ReportOptions& options = {});

}  // namespace reckon::profiler
