// The columns of what the ledger and the device tracer record: one line per figure, from which run.json
// (written and read), the reports and the comparison of two runs follow. A new figure of a record is a member that the
// ledger fills, a line in book_columns.cpp or device_columns.cpp and, unless it is `.place = text`, a new kRunSchema. Must not print: titles and notes are the reports'.
#pragma once

#include "profiler/books.h"
#include "profiler/columns.h"

namespace reckon::profiler {

template <>
inline constexpr int kNames<Phase> = kPhases;
template <>
inline constexpr int kNames<Category> = kCategories;
template <>
inline constexpr int kNames<LaunchKind> = kLaunchKinds;

#define RECKON_TABLE(T)              \
  template <>                        \
  struct TableOf<T> {                \
    static const Columns<T> columns; \
  }
// The same for a record whose figures must agree with each other: `check` runs after reading.
#define RECKON_CHECKED_TABLE(T)                 \
  template <>                                   \
  struct TableOf<T> {                           \
    static const Columns<T> columns;            \
    static void check(const Field& f, T& read); \
  }
RECKON_TABLE(Cost);
RECKON_TABLE(Cell);
RECKON_TABLE(LiveBlock);
RECKON_TABLE(SavedCell);
RECKON_TABLE(WorkCell);
RECKON_TABLE(Moment);
RECKON_TABLE(TimelinePoint);
RECKON_CHECKED_TABLE(StepBooks);
RECKON_TABLE(StepLine);
RECKON_TABLE(RunBooks);
RECKON_TABLE(ProcessBooks);
RECKON_TABLE(RunRecord);
RECKON_TABLE(DeviceCell);
RECKON_TABLE(KernelLine);
RECKON_TABLE(UnfiledLine);
RECKON_CHECKED_TABLE(DeviceStep);
RECKON_TABLE(ClosureLine);
RECKON_CHECKED_TABLE(DeviceClosure);
RECKON_TABLE(CountedWork);
RECKON_CHECKED_TABLE(CounterBooks);
RECKON_TABLE(DeviceBooks);
#undef RECKON_TABLE
#undef RECKON_CHECKED_TABLE

}  // namespace reckon::profiler
