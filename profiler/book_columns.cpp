#include "profiler/book_columns.h"

#include <fmt/format.h>

#include <bit>
#include <charconv>
#include <cmath>

#include "profiler/json.h"

namespace reckon::profiler {
namespace {

using enum Format;
using enum Origin;
using enum Place;

// One column that holds an object: a number for each enumerator.
template <class E, class T, class Get, class V = int64_t>
Columns<T> by_name(std::string name, Get get, const How& how = {}) {
  return object<T>(std::move(name), get, named_by<E, V>(how));
}

// The bits decide; the number beside them is for people (null when it is not finite).
Json loss_json(double loss) {
  return {std::isfinite(loss) ? Json(loss) : Json(nullptr),
          fmt::format("{:016x}", std::bit_cast<uint64_t>(loss))};
}

double loss_of(const Field& f) {
  const std::string& bits = f.item(1).text();
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(bits.data(), bits.data() + bits.size(), value, 16);
  if (error != std::errc{} || end != bits.data() + bits.size() || bits.size() != 16)
    f.item(1).fail("16 hexadecimal digits");
  return std::bit_cast<double>(value);
}

Json losses_json(const RunRecord& run) {
  Json out = Json::array();
  for (double loss : run.losses) out.push_back(loss_json(loss));
  return out;
}

void read_losses(const Field& f, RunRecord& run) {
  for (size_t i = 0; i < f.size(); ++i) run.losses.push_back(loss_of(f.item(i)));
}

Json config_json(const RunRecord& run) {
  Json out = Json::object();
  for (const auto& [key, value] : run.config.entries) out[key] = value;
  return out;
}

void read_config(const Field& f, RunRecord& run) {
  if (!f.json().is_object()) f.fail("an object");
  for (const auto& [key, value] : f.json().items()) run.config.entries.emplace_back(key, f.at(key).text());
}

// Derived figures for readers of the file; not read back.
Json summary_json(const RunRecord& run) {
  const RunBooks& b = run.books;
  if (!b.highest && !b.init) return nullptr;
  static const Columns<StepBooks> memory{
      {"peak_bytes", &StepBooks::peak_bytes},
      {"peak_rounded", &StepBooks::peak_rounded},
      {"peak_reserved", &StepBooks::peak_reserved},
      {"peak_step", &StepBooks::step},
      by_name<Category, StepBooks>("peak_by_category", &StepBooks::peak_by_category),
      {"saved_bytes", &StepBooks::saved_bytes}};
  static const Columns<FlopSplit> flop_columns{{"model", &FlopSplit::model},
                                               {"optimizer", &FlopSplit::optimizer},
                                               {"recompute", &FlopSplit::recompute},
                                               {"other", &FlopSplit::other},
                                               {"executed", &FlopSplit::executed}};
  static const Columns<StepBooks> work{
      object<StepBooks>(
          "flops_of_last_step", [](const StepBooks& w) { return split_flops(w.cost_by_phase()); },
          flop_columns),
      by_name<LaunchKind, StepBooks>("launches_of_last_step", &StepBooks::launches_by_kind)};
  Json j = object_json(memory, b.for_memory());
  j.update(object_json(work, b.for_work()));
  return j;
}

}  // namespace

const Columns<Cost> TableOf<Cost>::columns{
    {"matmul_flops", &Cost::matmul_flops, {.heading = "matmul", .format = scaled, .mark = formula}},
    {"vector_flops", &Cost::vector_flops, {.heading = "vector", .format = scaled, .mark = formula}},
    {"special", &Cost::special, {.format = scaled, .mark = formula}},
    {"bytes_read", &Cost::bytes_read, {.place = file}},
    {"bytes_written", &Cost::bytes_written, {.place = file}},
    {"bytes_moved",
     [](const Cost& c) { return c.bytes_read + c.bytes_written; },
     {.format = bytes, .mark = formula, .place = text}},
};

const Columns<Cell> TableOf<Cell>::columns{
    {"op", &Cell::op, {.absent = "(no op)"}},
    {"module", &Cell::module, {.absent = "(top)"}},
    {"label", &Cell::label, {.place = file}},
    {"phase", &Cell::phase},
    {"category", &Cell::category},
    {"bytes",
     &Cell::bytes,
     {.mark = counted,
      .compared = {{"category", "peak_by_category", "Bytes at the peak by category", "peak"},
                   {"op", "peak_by_op", "Bytes at the peak by op, largest change first", "peak"},
                   {"module", "peak_by_module", "Bytes at the peak by module, largest change first", "peak"}}}},
    share(&Cell::bytes),
    {"rounded", &Cell::rounded, {.mark = counted}},
    {"count", &Cell::count, {.heading = "blocks", .mark = counted}},
};

const Columns<LiveBlock> TableOf<LiveBlock>::columns{
    {"id", &LiveBlock::id, {.place = file, .negative = true}},
    // The text begins with the bytes, and marks what backward holds beside the category.
    {"bytes_first", &LiveBlock::bytes, {.heading = "bytes", .mark = counted, .place = text}},
    {"category_held",
     [](const LiveBlock& b) {
       const bool kept = b.saved && b.category != Category::saved;
       return std::string(name_of(b.category)) + (kept ? " (kept)" : "");
     },
     {.heading = "category", .place = text}},
    {"label_first", &LiveBlock::label, {.heading = "label", .place = text}},
    {"op", &LiveBlock::op, {.absent = "(no op)"}},
    {"module", &LiveBlock::module, {.absent = "(top)"}},
    {"label", &LiveBlock::label, {.place = file}},
    {"phase", &LiveBlock::phase},
    {"category", &LiveBlock::category, {.place = file}},
    {"step", &LiveBlock::step, {.heading = "born in step", .format = plain, .negative = true}},
    {"bytes", &LiveBlock::bytes, {.place = file}},
    {"rounded", &LiveBlock::rounded, {.place = file}},
    {"kept", &LiveBlock::saved, {.place = file}},
};

const Columns<SavedCell> TableOf<SavedCell>::columns{
    {"op", &SavedCell::op, {.absent = "(no op)"}},
    {"module", &SavedCell::module, {.absent = "(top)"}},
    {"category", &SavedCell::category},
    {"bytes",
     &SavedCell::bytes,
     {.mark = counted,
      .compared = {{"op", "saved_by_op", "Kept for backward at its fullest, by op", "kept for backward"}}}},
    {"share",
     [](const SavedCell& c, const SavedCell& kept) { return c.alias ? "" : percent(c.bytes, kept.bytes); },
     {.mark = derived, .sum = Sum::none, .right = true}},
    {"count", &SavedCell::count, {.heading = "blocks", .mark = counted}},
    {"alias", &SavedCell::alias, {.place = file}},
};

const Columns<WorkCell> TableOf<WorkCell>::columns{
    {"op", &WorkCell::op, {.absent = "(no op)"}},
    {"module", &WorkCell::module, {.place = file}},
    {"phase", &WorkCell::phase},
    {"calls", &WorkCell::calls, {.mark = counted}},
    inside<WorkCell>(&WorkCell::launches,
                     named_by<LaunchKind, int64_t>({.heading = "launches", .mark = counted, .if_any = true})),
    {"launches",
     &WorkCell::n_launches,
     {.mark = counted,
      .place = comparison,
      .compared = {{"op", "launches_by_op", "Launches of the last step by op", "launches"}}}},
    {"flops",
     [](const WorkCell& w) { return flops(w.cost); },
     {.format = scaled,
      .mark = formula,
      .place = comparison,
      .compared = {{"phase", "flops_by_phase", "FLOPs of the last step by phase", "FLOPs"}}}},
    {"traffic",
     [](const WorkCell& w) { return w.cost.bytes_read + w.cost.bytes_written; },
     {.format = bytes,
      .mark = formula,
      .place = comparison,
      .compared = {{"phase", "traffic_by_phase", "Bytes moved in the last step by phase", "bytes moved"}}}},
    inside<WorkCell>(&WorkCell::cost, TableOf<Cost>::columns),
    {"time_ns", &WorkCell::time_ns, {.heading = "time", .format = time, .mark = measured, .negative = true}},
    share(&WorkCell::time_ns),
};

const Columns<Moment> TableOf<Moment>::columns{
    {"event", &Moment::event, {.negative = true}},
    {"t_ns", &Moment::t_ns, {.negative = true}},
    {"phase", &Moment::phase},
    {"op", &Moment::op},
    {"module", &Moment::module},
};

const Columns<TimelinePoint> TableOf<TimelinePoint>::columns{
    {"event", &TimelinePoint::event, {.negative = true}},
    {"t_ns", &TimelinePoint::t_ns, {.negative = true}},
    {"phase", &TimelinePoint::phase},
    inside<TimelinePoint>(&TimelinePoint::bytes, named_by<Category, int64_t>()),
    {"reserved", &TimelinePoint::reserved},
};

const Columns<StepBooks> TableOf<StepBooks>::columns{
    {"step", &StepBooks::step, {.negative = true}},
    {"n_events", &StepBooks::n_events},
    {"duration_ns", &StepBooks::duration_ns, {.negative = true}},
    {"n_allocations", &StepBooks::n_allocations},
    {"live_at_begin", &StepBooks::live_at_begin},
    {"live_at_end", &StepBooks::live_at_end},
    {"peak_bytes", &StepBooks::peak_bytes},
    {"peak_rounded", &StepBooks::peak_rounded},
    {"peak_reserved", &StepBooks::peak_reserved},
    {"peak_at", &StepBooks::peak_at},
    by_name<Category, StepBooks>("peak_by_category", &StepBooks::peak_by_category),
    {"max_rounded", &StepBooks::max_rounded},
    {"max_reserved", &StepBooks::max_reserved},
    by_name<Category, StepBooks>("max_by_category", &StepBooks::max_by_category, {.negative = true}),
    by_name<Phase, StepBooks>("max_by_phase", &StepBooks::max_by_phase, {.negative = true}),
    {"saved_bytes", &StepBooks::saved_bytes},
    {"saved_alias_bytes", &StepBooks::saved_alias_bytes},
    {"cells", &StepBooks::cells},
    {"n_live_at_peak", &StepBooks::n_live_at_peak},
    {"largest", &StepBooks::largest},
    {"saved", &StepBooks::saved},
    {"work", &StepBooks::work},
    {"timeline", &StepBooks::timeline},
};

// The books must still close: a file that was edited or cut is not worth reading on.
void TableOf<StepBooks>::check(const Field& f, StepBooks& b) {
  int64_t cells = 0, saved = 0, work = 0;
  check_sums(TableOf<Cell>::columns, f.at("cells"), b.cells, cells);
  check_sums(TableOf<SavedCell>::columns, f.at("saved"), b.saved, saved);
  check_sums(TableOf<WorkCell>::columns, f.at("work"), b.work, work);
  const auto closes = [&](std::string_view key, int64_t claimed, int64_t sum) {
    if (claimed != sum) f.at(key).fail(fmt::format("the sum of its cells, {}", sum));
  };
  const Cell sum = sum_of(TableOf<Cell>::columns, b.cells);
  int64_t kept = 0;
  for (const SavedCell& c : b.saved) kept += c.alias ? 0 : c.bytes;
  closes("peak_bytes", b.peak_bytes, sum.bytes);
  closes("peak_rounded", b.peak_rounded, sum.rounded);
  closes("saved_bytes", b.saved_bytes, kept);
}

const Columns<StepLine> TableOf<StepLine>::columns{
    {"step", &StepLine::step, {.format = plain, .negative = true}},
    {"n_events", &StepLine::n_events, {.place = file}},
    {"duration_ns", &StepLine::duration_ns, {.place = file, .negative = true}},
    {"peak_bytes", &StepLine::peak_bytes, {.mark = counted}},
    {"peak_reserved", &StepLine::peak_reserved, {.heading = "reserved", .format = bytes, .mark = counted}},
    {"live_at_end", &StepLine::live_at_end, {.mark = counted}},
    {"saved_bytes", &StepLine::saved_bytes, {.heading = "kept", .format = bytes, .mark = counted}},
    {"n_launches", &StepLine::n_launches, {.heading = "launches", .mark = counted}},
    inside<StepLine>(&StepLine::cost, TableOf<Cost>::columns, "", file),
    inside<StepLine>(&StepLine::recompute, TableOf<Cost>::columns, "recompute_", file),
    {"FLOPs",
     [](const StepLine& s) { return flops(s.cost); },
     {.format = scaled, .mark = formula, .place = text}},
    {"time", &StepLine::duration_ns, {.format = time, .mark = measured, .place = text}},
};

const Columns<RunBooks> TableOf<RunBooks>::columns{
    {"n_events", &RunBooks::n_events},
    {"n_unknown_blocks", &RunBooks::n_unknown_blocks},
    by_name<LaunchKind, RunBooks>("launches", &RunBooks::launches, {.negative = true}),
    object<RunBooks>("cost", &RunBooks::cost, named_by<Phase, Cost>()),
    {"series", &RunBooks::series},
    {"init", &RunBooks::init},
    {"between", &RunBooks::between},
    {"first", &RunBooks::first},
    {"last", &RunBooks::last},
    {"highest", &RunBooks::highest},
};

const How known_or_minus_one{.negative = true};
const Columns<ProcessBooks> TableOf<ProcessBooks>::columns{
    {"requested", &ProcessBooks::requested},
    {"rounded", &ProcessBooks::rounded},
    {"reserved", &ProcessBooks::reserved},
    {"resident", &ProcessBooks::resident, known_or_minus_one},
    {"rss", &ProcessBooks::rss, known_or_minus_one},
    {"rss_anon", &ProcessBooks::rss_anon, known_or_minus_one},
    {"rss_file", &ProcessBooks::rss_file, known_or_minus_one},
    {"rss_shmem", &ProcessBooks::rss_shmem, known_or_minus_one},
    {"rss_peak", &ProcessBooks::rss_peak, known_or_minus_one},
    {"observer", &ProcessBooks::observer, known_or_minus_one},
};

const Columns<RunRecord> TableOf<RunRecord>::columns{
    {"reckon_schema", [](const RunRecord&) { return kRunSchema; }},
    by_hand<RunRecord>("config", config_json, read_config),
    by_hand<RunRecord>("summary", summary_json, nullptr),
    by_hand<RunRecord>("losses", losses_json, read_losses),
    {"process", &RunRecord::process},
    {"device", &RunRecord::device, {.may_lack = true}},
    {"books", &RunRecord::books},
};

}  // namespace reckon::profiler
