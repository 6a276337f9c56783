// The records a ledger writes and everybody else reads: plain values, no behaviour beyond sums. Bytes,
// launches and FLOPs are exact integers. Times come from the steady clock and are the only figures that
// differ between two equal runs.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "profiler/device_books.h"
#include "runtime/events/event.h"

namespace reckon::profiler {

template <class T>
using ByCategory = std::array<T, kCategories>;
template <class T>
using ByPhase = std::array<T, kPhases>;

// Live bytes that share an owner. Op, module, label and phase are those of birth; the
// category is that of the moment.
struct Cell {
  NameId op{}, module{}, label{};
  Phase phase{};
  Category category{};
  int64_t bytes = 0, rounded = 0, count = 0;
  friend bool operator==(const Cell&, const Cell&) = default;
};

// One live allocation.
struct LiveBlock {
  int64_t id = 0;
  NameId op{}, module{}, label{};
  Phase phase{};
  Category category{};
  int64_t step = 0;
  int64_t bytes = 0, rounded = 0;
  bool saved = false;  // backward holds it
  friend bool operator==(const LiveBlock&, const LiveBlock&) = default;
};

// Bytes that backward holds. An alias (parameter, input, gradient, optimizer) would exist without backward too,
// so it is listed but not part of the sum.
struct SavedCell {
  NameId op{}, module{};
  Category category{};
  int64_t bytes = 0, count = 0;
  bool alias = false;
  friend bool operator==(const SavedCell&, const SavedCell&) = default;
};

// Work of one op in one module and phase.
struct WorkCell {
  NameId op{}, module{};
  Phase phase{};
  int64_t calls = 0;
  std::array<int64_t, kLaunchKinds> launches{};
  Cost cost{};          // as the ops declare it
  int64_t time_ns = 0;  // measured between begin and end of the op, without ops called inside

  int64_t n_launches() const;
  friend bool operator==(const WorkCell&, const WorkCell&) = default;
};

// Where in a step something happened.
struct Moment {
  int64_t event = -1;  // index in the step; -1: before its first event
  int64_t t_ns = 0;    // since the step began
  Phase phase{};
  NameId op{}, module{};
  friend bool operator==(const Moment&, const Moment&) = default;
};

// One of at most kTimelinePoints stretches of a step: the fullest moment in it, so that the peak is never lost.
struct TimelinePoint {
  int64_t event = 0, t_ns = 0;
  Phase phase{};
  ByCategory<int64_t> bytes{};
  int64_t reserved = 0;

  int64_t total() const;
  friend bool operator==(const TimelinePoint&, const TimelinePoint&) = default;
};
// The order in which pictures stack the categories: the pyramid of a step stands on what lives long.
inline constexpr std::array<Category, kCategories> kLongLivedFirst{
    Category::parameter, Category::optimizer, Category::gradient,  Category::kv_cache, Category::input,
    Category::cast,      Category::saved,     Category::workspace, Category::transient};
inline constexpr int kTimelinePoints = 240;
inline constexpr int kLargestBlocks = 40;

// Everything about one step, or about a stretch outside of steps.
struct StepBooks {
  int64_t step = -1;  // -1: outside of steps
  int64_t n_events = 0;
  int64_t duration_ns = 0;
  int64_t n_allocations = 0;
  int64_t live_at_begin = 0, live_at_end = 0;

  // The peak of requested bytes, and what else held at that moment.
  int64_t peak_bytes = 0, peak_rounded = 0, peak_reserved = 0;
  Moment peak_at;
  std::vector<Cell> cells;         // largest first; bytes sum to peak_bytes, rounded to peak_rounded
  std::vector<LiveBlock> largest;  // at most kLargestBlocks, largest first
  int64_t n_live_at_peak = 0;
  // Maxima of their own, each at its own moment.
  int64_t max_rounded = 0, max_reserved = 0;
  ByCategory<int64_t> max_by_category{};
  ByPhase<int64_t> max_by_phase{};  // live bytes while in the phase; -1 when the phase did not occur

  // The fullest moment of what backward holds.
  int64_t saved_bytes = 0, saved_alias_bytes = 0;
  std::vector<SavedCell> saved;  // largest first; those that are no alias sum to saved_bytes

  std::vector<WorkCell> work;  // by FLOPs, largest first
  std::vector<TimelinePoint> timeline;

  ByCategory<int64_t> peak_by_category() const;
  ByCategory<int64_t> rounded_by_category() const;
  ByPhase<Cost> cost_by_phase() const;
  ByPhase<int64_t> time_by_phase() const;
  std::array<int64_t, kLaunchKinds> launches_by_kind() const;
  int64_t n_launches() const;
  friend bool operator==(const StepBooks&, const StepBooks&) = default;
};

// One line per step.
struct StepLine {
  int64_t step = 0, n_events = 0, duration_ns = 0;
  int64_t peak_bytes = 0, peak_reserved = 0, live_at_end = 0, saved_bytes = 0;
  int64_t n_launches = 0;
  Cost cost{}, recompute{};  // all phases; recompute alone
  friend bool operator==(const StepLine&, const StepLine&) = default;
};

struct RunBooks {
  std::optional<StepBooks> init;     // before the first step
  std::optional<StepBooks> between;  // after it, outside of steps: the stretch with the highest peak
  std::optional<StepBooks> first, last, highest;
  std::vector<StepLine> series;
  // Sums over all steps.
  ByPhase<Cost> cost{};
  std::array<int64_t, kLaunchKinds> launches{};
  int64_t n_events = 0;  // inside and outside of steps
  // Events about blocks that were allocated before the ledger listened; their bytes are in no cell. 0 when the
  // ledger was there from the start.
  int64_t n_unknown_blocks = 0;

  // The books to speak about memory with: the highest step, else init.
  const StepBooks& for_memory() const;
  // The books to speak about work and time with: the last step, else init.
  const StepBooks& for_work() const;
  friend bool operator==(const RunBooks&, const RunBooks&) = default;
};

// FLOPs of one step: what the maths needs (forward, loss, backward), the optimizer, what was run a second time,
// and everything else (init, data, communication).
struct FlopSplit {
  int64_t model = 0, optimizer = 0, recompute = 0, other = 0;
  int64_t executed() const { return model + optimizer + recompute + other; }
};
// Multiply-adds count two; vector FLOPs are included, special functions are not.
FlopSplit split_flops(const ByPhase<Cost>& cost);
int64_t flops(const Cost& c);  // matmul + vector

// Arena and process at one moment, for the closure of reserved bytes against resident ones.
struct ProcessBooks {
  int64_t requested = 0, rounded = 0, reserved = 0;
  int64_t resident = -1;  // of the reserved bytes; -1: unknown
  int64_t rss = -1, rss_anon = -1, rss_file = -1, rss_shmem = -1, rss_peak = -1;
  int64_t observer = -1;  // heap bytes of the ledger itself; -1: not asked for
  friend bool operator==(const ProcessBooks&, const ProcessBooks&) = default;
};

// What the run was asked to do, in the order it was given.
struct RunConfig {
  std::vector<std::pair<std::string, std::string>> entries;

  void set(std::string_view key, std::string_view value);  // replaces the value of a key that is there
  std::optional<std::string> get(std::string_view key) const;
  friend bool operator==(const RunConfig&, const RunConfig&) = default;
};

// All that is known of a finished run; what run.json holds.
struct RunRecord {
  RunConfig config;
  RunBooks books;
  std::vector<double> losses;  // per step; empty when there was no data
  std::optional<ProcessBooks> process;
  std::optional<DeviceBooks> device;  // where the hardware was watched
};

}  // namespace reckon::profiler
