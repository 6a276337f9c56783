#include "profiler/ledger.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace reckon::profiler {
namespace {

// Where the maxima of a stretch are: event indices, -1 before the first event.
struct Maxima {
  int64_t peak_event = -1, saved_event = -1;
};

// First pass: over a copy of the state, finds the maxima and draws the timeline.
Maxima find_maxima(Replay state, std::span<const Event> log, StepBooks& books) {
  for (const Event& e : log)
    if (tells_phase(e.kind)) {
      state.phase = e.phase;
      break;
    }
  Maxima at;
  const int64_t t0 = log.front().t_ns;
  const auto n = static_cast<int64_t>(log.size());
  const int64_t n_points = std::min<int64_t>(n, kTimelinePoints);
  int64_t peak = state.bytes, saved = state.saved;
  books.max_rounded = state.rounded;
  books.max_reserved = state.reserved;
  books.max_by_category = state.by_category;
  books.max_by_phase.fill(-1);
  const auto point = [&](int64_t i) {
    return TimelinePoint{i, log[static_cast<size_t>(i)].t_ns - t0, state.phase, state.by_category,
                         state.reserved};
  };
  for (int64_t i = 0; i < n; ++i) {
    const Event& e = log[static_cast<size_t>(i)];
    // A stretch of the timeline begins with what is live before its first event.
    if (static_cast<int64_t>(books.timeline.size()) == i * n_points / n) books.timeline.push_back(point(i));
    state.apply(e);
    if (tells_phase(e.kind)) {
      int64_t& most = books.max_by_phase[static_cast<size_t>(state.phase)];
      most = std::max(most, state.bytes);
    }
    if (!changes_memory(e.kind)) continue;
    if (state.bytes > peak) {
      peak = state.bytes;
      at.peak_event = i;
    }
    if (state.saved > saved) {
      saved = state.saved;
      at.saved_event = i;
    }
    books.max_rounded = std::max(books.max_rounded, state.rounded);
    books.max_reserved = std::max(books.max_reserved, state.reserved);
    for (size_t c = 0; c < kCategories; ++c)
      books.max_by_category[c] = std::max(books.max_by_category[c], state.by_category[c]);
    if (state.bytes > books.timeline.back().total()) books.timeline.back() = point(i);
  }
  return at;
}

auto names(const Cell& c) {
  return std::tuple(name_of(c.op), name_of(c.module), name_of(c.label), c.phase, c.category);
}
auto names(const SavedCell& c) { return std::tuple(name_of(c.op), name_of(c.module), c.category); }
auto names(const WorkCell& c) { return std::tuple(name_of(c.op), name_of(c.module), c.phase); }

// Largest first; names break ties, so that the order does not depend on the order names were seen in.
template <class T, class Size>
void sort_by_size(std::vector<T>& v, Size size) {
  std::sort(v.begin(), v.end(), [&](const T& a, const T& b) {
    return size(a) != size(b) ? size(a) > size(b) : names(a) < names(b);
  });
}

void write_peak(const Replay& state, StepBooks& books) {
  books.peak_bytes = state.bytes;
  books.peak_rounded = state.rounded;
  books.peak_reserved = state.reserved;
  std::map<std::tuple<NameId, NameId, NameId, Phase, Category>, Cell> cells;
  for (const auto& [id, b] : state.live) {
    Cell& c = cells[{b.op, b.module, b.label, b.phase, b.category}];
    if (c.count == 0) c = {b.op, b.module, b.label, b.phase, b.category};
    c.bytes += b.bytes;
    c.rounded += b.rounded;
    ++c.count;
    books.largest.push_back(b);
  }
  for (const auto& [key, cell] : cells) books.cells.push_back(cell);
  sort_by_size(books.cells, [](const Cell& c) { return c.bytes; });
  books.n_live_at_peak = static_cast<int64_t>(books.largest.size());
  const auto order = [](const LiveBlock& a, const LiveBlock& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.id < b.id;
  };
  const auto keep = std::min<size_t>(books.largest.size(), kLargestBlocks);
  std::partial_sort(books.largest.begin(), books.largest.begin() + static_cast<ptrdiff_t>(keep),
                    books.largest.end(), order);
  books.largest.resize(keep);
}

void write_saved(const Replay& state, StepBooks& books) {
  books.saved_bytes = state.saved;
  books.saved_alias_bytes = state.saved_alias;
  std::map<std::tuple<NameId, NameId, Category>, SavedCell> cells;
  for (const auto& [id, b] : state.live) {
    if (!b.saved) continue;
    SavedCell& c = cells[{b.op, b.module, b.category}];
    if (c.count == 0) c = {b.op, b.module, b.category, 0, 0, is_alias(b.category)};
    c.bytes += b.bytes;
    ++c.count;
  }
  for (const auto& [key, cell] : cells) books.saved.push_back(cell);
  sort_by_size(books.saved, [](const SavedCell& c) { return c.bytes; });
}

struct OpenOp {
  NameId op, module;
  int64_t begin_ns, inner_ns;
};

std::vector<WorkCell> collect_work(std::span<const Event> log) {
  std::map<std::tuple<NameId, NameId, Phase>, WorkCell> cells;
  const auto cell = [&](const Event& e) -> WorkCell& {
    WorkCell& w = cells[{e.op, e.module, e.phase}];
    w.op = e.op;
    w.module = e.module;
    w.phase = e.phase;
    return w;
  };
  std::vector<OpenOp> open;
  for (const Event& e : log) {
    if (e.kind == EventKind::launched) {
      ++cell(e).launches[static_cast<size_t>(e.launch)];
    } else if (e.kind == EventKind::op_begin) {
      open.push_back({e.op, e.module, e.t_ns, 0});
    } else if (e.kind == EventKind::op_end) {
      WorkCell& w = cell(e);
      ++w.calls;
      w.cost += e.cost;
      // An op that was left by an exception has no end; its begin is dropped when an outer op ends.
      while (!open.empty() && (open.back().op != e.op || open.back().module != e.module)) open.pop_back();
      if (open.empty()) continue;
      const int64_t elapsed = e.t_ns - open.back().begin_ns;
      w.time_ns += elapsed - open.back().inner_ns;
      open.pop_back();
      if (!open.empty()) open.back().inner_ns += elapsed;
    }
  }
  std::vector<WorkCell> work;
  for (const auto& [key, w] : cells) work.push_back(w);
  sort_by_size(work, [](const WorkCell& w) { return flops(w.cost); });
  return work;
}

// Moves `state` over the log and returns the books of that stretch.
StepBooks write_books(Replay& state, std::span<const Event> log) {
  StepBooks books;
  const Event& first = log.front();
  if (first.kind == EventKind::step_begin) books.step = first.step;
  books.n_events = static_cast<int64_t>(log.size());
  books.duration_ns = log.back().t_ns - first.t_ns;
  books.live_at_begin = state.bytes;
  const Maxima at = find_maxima(state, log, books);
  if (at.peak_event < 0) write_peak(state, books);
  if (at.saved_event < 0) write_saved(state, books);
  for (int64_t i = 0; i < books.n_events; ++i) {
    const Event& e = log[static_cast<size_t>(i)];
    state.apply(e);
    books.n_allocations += e.kind == EventKind::allocated;
    if (i == at.peak_event) {
      write_peak(state, books);
      books.peak_at = {i, e.t_ns - first.t_ns, state.phase, e.op, e.module};
    }
    if (i == at.saved_event) write_saved(state, books);
  }
  books.live_at_end = state.bytes;
  books.work = collect_work(log);
  return books;
}

StepLine line_of(const StepBooks& b) {
  const ByPhase<Cost> cost = b.cost_by_phase();
  StepLine line{b.step,         b.n_events,    b.duration_ns, b.peak_bytes,
                b.max_reserved, b.live_at_end, b.saved_bytes, b.n_launches()};
  for (const Cost& c : cost) line.cost += c;
  line.recompute = cost[static_cast<size_t>(Phase::recompute)];
  return line;
}

}  // namespace

void Ledger::on(const Event& event) {
  if (event.kind == EventKind::step_begin) close();
  log_.push_back(event);
  if (event.kind == EventKind::step_end) close();
}

void Ledger::close() {
  if (log_.empty()) return;
  const bool is_step = log_.front().kind == EventKind::step_begin;
  file(write_books(state_, log_), is_step);
  if (keep_) kept_.insert(kept_.end(), log_.begin(), log_.end());
  if (is_step) std::swap(log_, last_log_);
  log_.clear();
}

void Ledger::file(StepBooks books, bool is_step) {
  books_.n_events += books.n_events;
  books_.n_unknown_blocks = state_.n_unknown;
  if (!is_step) {
    std::optional<StepBooks>& place = books_.series.empty() && !books_.init ? books_.init : books_.between;
    if (!place || books.peak_bytes > place->peak_bytes) place = std::move(books);
    return;
  }
  books_.series.push_back(line_of(books));
  const ByPhase<Cost> cost = books.cost_by_phase();
  for (size_t p = 0; p < kPhases; ++p) books_.cost[p] += cost[p];
  const auto launches = books.launches_by_kind();
  for (size_t k = 0; k < kLaunchKinds; ++k) books_.launches[k] += launches[k];
  if (!books_.first) books_.first = books;
  if (!books_.highest || books.peak_bytes > books_.highest->peak_bytes) books_.highest = books;
  books_.last = std::move(books);
}

int64_t Ledger::own_bytes() const {
  const size_t events = log_.capacity() + last_log_.capacity() + kept_.capacity();
  // A table entry is a node with a link beside its value, and a bucket.
  const size_t entry = sizeof(std::pair<const int64_t, LiveBlock>) + 2 * sizeof(void*);
  return static_cast<int64_t>(events * sizeof(Event) + state_.live.size() * entry);
}

RunBooks books_of(std::span<const Event> events) {
  Ledger ledger;
  for (const Event& e : events) ledger.on(e);
  ledger.close();
  return ledger.books();
}

}  // namespace reckon::profiler
