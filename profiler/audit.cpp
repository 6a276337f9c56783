#include "profiler/audit.h"

#include <fmt/format.h>

#include <array>
#include <map>
#include <unordered_map>
#include <vector>

#include "profiler/ledger.h"
#include "runtime/core/format.h"

namespace reckon::profiler {
namespace {

std::string place(const Event& e) {
  std::string text;
  if (e.op.index) text += fmt::format(" op {}", name_of(e.op));
  if (e.module.index) text += fmt::format(" in {}", name_of(e.module));
  return text + fmt::format(", phase {}, step {}", name_of(e.phase), e.step);
}

}  // namespace

std::string describe(const Event& e) {
  std::string text(name_of(e.kind));
  switch (e.kind) {
    case EventKind::segment_acquired:
    case EventKind::segment_released:
      return text + fmt::format(" segment {} of {} bytes", e.id, format_count(e.bytes));
    case EventKind::step_begin:
    case EventKind::step_end:
      return text + fmt::format(" {}", e.step);
    case EventKind::op_begin:
      return text + place(e);
    case EventKind::op_end:
      return text + place(e) +
             fmt::format(": matmul {} vector {} special {} FLOPs, {} bytes read, {} written",
                         e.cost.matmul_flops, e.cost.vector_flops, e.cost.special, e.cost.bytes_read,
                         e.cost.bytes_written);
    case EventKind::launched:
      return text + fmt::format(" {} '{}'", name_of(e.launch), name_of(e.label)) + place(e);
    default:
      break;
  }
  text += fmt::format(" block {}: {} bytes ({} rounded) at segment {} + {}, {}", e.id, format_count(e.bytes),
                      format_count(e.rounded), e.segment, e.offset, name_of(e.category));
  if (e.category_before != Category{} || e.kind == EventKind::saved || e.kind == EventKind::unsaved ||
      e.kind == EventKind::recategorized)
    text += fmt::format(" (was {})", name_of(e.category_before));
  if (e.label.index) text += fmt::format(", '{}'", name_of(e.label));
  return text + place(e);
}

namespace {

// Names the fields in which two events differ.
std::string differing_fields(const Event& a, const Event& b) {
  std::string text;
  if (a.kind != b.kind) return "kind: another thing happened";
  const auto field = [&](std::string_view name, const auto& x, const auto& y) {
    if (x != y) text += fmt::format("{}{} '{}' predicted, '{}' executed", text.empty() ? "" : "; ", name, x, y);
  };
  field("phase", name_of(a.phase), name_of(b.phase));
  field("category", name_of(a.category), name_of(b.category));
  field("category before", name_of(a.category_before), name_of(b.category_before));
  field("launch kind", name_of(a.launch), name_of(b.launch));
  field("op", name_of(a.op), name_of(b.op));
  field("module", name_of(a.module), name_of(b.module));
  field("label", name_of(a.label), name_of(b.label));
  field("step", a.step, b.step);
  field("id", a.id, b.id);
  field("bytes", a.bytes, b.bytes);
  field("rounded", a.rounded, b.rounded);
  field("segment", a.segment, b.segment);
  field("offset", a.offset, b.offset);
  field("matmul FLOPs", a.cost.matmul_flops, b.cost.matmul_flops);
  field("vector FLOPs", a.cost.vector_flops, b.cost.vector_flops);
  field("special functions", a.cost.special, b.cost.special);
  field("bytes read", a.cost.bytes_read, b.cost.bytes_read);
  field("bytes written", a.cost.bytes_written, b.cost.bytes_written);
  return text;
}

std::string count_kinds(std::span<const Event> events) {
  std::array<int64_t, 12> n{};
  int64_t work = 0;
  for (const Event& e : events) {
    ++n[static_cast<size_t>(e.kind)];
    work += e.cost.matmul_flops + e.cost.vector_flops;
  }
  const auto of = [&](EventKind k) { return format_count(n[static_cast<size_t>(k)]); };
  return fmt::format("{} allocations, {} frees, {} launches, {} op calls, {} FLOPs", of(EventKind::allocated),
                     of(EventKind::freed), of(EventKind::launched), of(EventKind::op_end), format_count(work));
}

}  // namespace

AuditResult audit(std::span<const Event> predicted, std::span<const Event> executed) {
  AuditResult r;
  const size_t common = std::min(predicted.size(), executed.size());
  size_t i = 0;
  while (i < common && predicted[i].same_as(executed[i])) ++i;
  r.n_events = static_cast<int64_t>(i);
  if (i == predicted.size() && i == executed.size()) {
    r.equal = true;
    r.text =
        fmt::format("equal: {} events, one for one ({})", format_count(r.n_events), count_kinds(predicted));
    return r;
  }
  r.first_difference = static_cast<int64_t>(i);
  const auto side = [&](std::span<const Event> events) {
    return i < events.size() ? describe(events[i]) : fmt::format("(ended after {} events)", events.size());
  };
  r.text =
      fmt::format("different at event {} (of {} predicted, {} executed)\n  predicted: {}\n  executed:  {}\n", i,
                  predicted.size(), executed.size(), side(predicted), side(executed));
  if (i < common) r.text += fmt::format("  in: {}\n", differing_fields(predicted[i], executed[i]));
  r.text += "  before, in both:\n";
  for (size_t k = i < 3 ? 0 : i - 3; k < i; ++k)
    r.text += fmt::format("    {}: {}\n", k, describe(predicted[k]));
  const auto after = [&](std::string_view who, std::span<const Event> events) {
    if (i + 1 >= events.size()) return;
    r.text += fmt::format("  after, {}:\n", who);
    for (size_t k = i + 1; k < std::min(i + 4, events.size()); ++k)
      r.text += fmt::format("    {}: {}\n", k, describe(events[k]));
  };
  after("predicted", predicted);
  after("executed", executed);
  return r;
}

namespace {

// Written apart from Replay, so that the two check each other.
class Replayer {
 public:
  // Empty when the event fits what came before.
  std::string step(const Event& e);
  std::string finish(std::span<const Event> events) const;
  int64_t n_allocations = 0, peak = 0;
  size_t n_live() const { return blocks_.size(); }

 private:
  struct Block {
    Event birth;
    Category category;
    int savers = 0;
  };
  std::string memory(const Event& e);
  std::string allocate(const Event& e);
  std::string scope(const Event& e);

  std::unordered_map<int64_t, Block> blocks_;
  std::map<int64_t, int64_t> segments_;                                 // id -> size
  std::unordered_map<int64_t, std::map<int64_t, int64_t>> by_segment_;  // offset -> end of live blocks
  std::array<int64_t, kCategories> categories_{};
  int64_t live_ = 0, rounded_ = 0, reserved_ = 0;
  std::vector<Event> ops_;
  bool in_step_ = false;
};

std::string Replayer::allocate(const Event& e) {
  if (e.bytes < 0 || e.rounded < e.bytes)
    return fmt::format("rounded bytes {} are below the requested {}", e.rounded, e.bytes);
  const auto segment = segments_.find(e.segment);
  if (segment == segments_.end()) return fmt::format("segment {} is not held", e.segment);
  const int64_t end = e.offset + e.rounded;
  if (e.offset < 0 || end > segment->second)
    return fmt::format("the block ends at {}, its segment of {} bytes before that", end, segment->second);
  auto& live = by_segment_[e.segment];
  const auto next = live.lower_bound(e.offset);
  if (next != live.end() && next->first < end)
    return fmt::format("overlaps the live block at offset {}", next->first);
  if (next != live.begin() && std::prev(next)->second > e.offset)
    return fmt::format("overlaps the live block at offset {}", std::prev(next)->first);
  if (!blocks_.emplace(e.id, Block{e, e.category}).second) return fmt::format("block {} is live already", e.id);
  live.emplace_hint(next, e.offset, end);
  live_ += e.bytes;
  rounded_ += e.rounded;
  categories_[static_cast<size_t>(e.category)] += e.bytes;
  peak = std::max(peak, live_);
  ++n_allocations;
  return "";
}

std::string Replayer::memory(const Event& e) {
  const auto found = blocks_.find(e.id);
  if (found == blocks_.end())
    return fmt::format("block {} is not live: never allocated, or freed before", e.id);
  Block& b = found->second;
  if (e.bytes != b.birth.bytes || e.rounded != b.birth.rounded || e.segment != b.birth.segment ||
      e.offset != b.birth.offset)
    return fmt::format("does not match its allocation: {}", describe(b.birth));
  if (e.kind == EventKind::freed) {
    if (e.category != b.category)
      return fmt::format("is freed as {}, but was {}", name_of(e.category), name_of(b.category));
    if (b.savers) return "is freed while backward holds it";
    by_segment_[e.segment].erase(e.offset);
    live_ -= e.bytes;
    rounded_ -= e.rounded;
    categories_[static_cast<size_t>(e.category)] -= e.bytes;
    blocks_.erase(found);
    return "";
  }
  if (e.category_before != b.category)
    return fmt::format("says it was {}, but it was {}", name_of(e.category_before), name_of(b.category));
  if (e.kind == EventKind::saved && b.savers++) return "is saved although backward holds it already";
  if (e.kind == EventKind::unsaved && !b.savers--) return "is given up by backward, which did not hold it";
  categories_[static_cast<size_t>(b.category)] -= e.bytes;
  categories_[static_cast<size_t>(e.category)] += e.bytes;
  b.category = e.category;
  return "";
}

std::string Replayer::scope(const Event& e) {
  switch (e.kind) {
    case EventKind::op_begin:
      ops_.push_back(e);
      return "";
    case EventKind::op_end:
      if (ops_.empty() || ops_.back().op != e.op || ops_.back().module != e.module ||
          ops_.back().phase != e.phase)
        return fmt::format("ends an op that is not open; open is {}",
                           ops_.empty() ? "none" : describe(ops_.back()));
      ops_.pop_back();
      return "";
    case EventKind::step_begin:
      if (in_step_) return "begins a step inside a step";
      in_step_ = true;
      return "";
    case EventKind::step_end:
      if (!in_step_) return "ends a step that was not begun";
      in_step_ = false;
      return "";
    default:
      return "";
  }
}

std::string Replayer::step(const Event& e) {
  std::string wrong;
  switch (e.kind) {
    case EventKind::segment_acquired:
      if (e.bytes <= 0 || !segments_.emplace(e.id, e.bytes).second)
        return fmt::format("segment {} is held already, or empty", e.id);
      reserved_ += e.bytes;
      break;
    case EventKind::segment_released:
      if (const auto s = segments_.find(e.id); s == segments_.end() || s->second != e.bytes)
        return fmt::format("segment {} of {} bytes is not held", e.id, e.bytes);
      if (!by_segment_[e.id].empty()) return fmt::format("segment {} is released with live blocks in it", e.id);
      segments_.erase(e.id);
      reserved_ -= e.bytes;
      break;
    case EventKind::allocated:
      wrong = allocate(e);
      break;
    case EventKind::freed:
    case EventKind::saved:
    case EventKind::unsaved:
    case EventKind::recategorized:
      wrong = memory(e);
      break;
    default:
      wrong = scope(e);
  }
  if (!wrong.empty()) return wrong;
  int64_t sum = 0;
  for (size_t c = 0; c < categories_.size(); ++c) {
    if (categories_[c] < 0)
      return fmt::format("category {} holds {} bytes", name_of(static_cast<Category>(c)), categories_[c]);
    sum += categories_[c];
  }
  if (sum != live_) return fmt::format("the categories sum to {} bytes, live are {}", sum, live_);
  if (live_ > rounded_ || rounded_ > reserved_)
    return fmt::format("requested {} <= rounded {} <= reserved {} does not hold", live_, rounded_, reserved_);
  return "";
}

std::string Replayer::finish(std::span<const Event> events) const {
  int64_t live = 0;
  for (const auto& [id, b] : blocks_) live += b.birth.bytes;
  if (live != live_)
    return fmt::format("the blocks live at the end sum to {} bytes, the running sum is {}", live, live_);
  const RunBooks books = books_of(events);
  int64_t highest = 0;
  for (const std::optional<StepBooks>* b :
       {&books.init, &books.between, &books.first, &books.last, &books.highest}) {
    if (!*b) continue;
    int64_t bytes = 0, rounded = 0;
    for (const Cell& c : (*b)->cells) {
      bytes += c.bytes;
      rounded += c.rounded;
    }
    if (bytes != (*b)->peak_bytes || rounded != (*b)->peak_rounded)
      return fmt::format("the cells of step {} sum to {} bytes ({} rounded), its peak is {} ({})", (*b)->step,
                         bytes, rounded, (*b)->peak_bytes, (*b)->peak_rounded);
    highest = std::max(highest, bytes);
  }
  if (highest != peak)
    return fmt::format("the cells of the highest peak sum to {} bytes, the running sum reached {}", highest,
                       peak);
  return "";
}

}  // namespace

BooksCheck check_books(std::span<const Event> events) {
  BooksCheck r;
  Replayer replayer;
  for (const Event& e : events) {
    if (const std::string wrong = replayer.step(e); !wrong.empty()) {
      r.at = r.n_events;
      r.text = fmt::format(
          "the books do not close at event {} of {}: {}\n  event: {}\n  (a log must start with its device)",
          r.at, events.size(), wrong, describe(e));
      return r;
    }
    ++r.n_events;
  }
  r.n_allocations = replayer.n_allocations;
  r.n_live_at_end = static_cast<int64_t>(replayer.n_live());
  r.peak_bytes = replayer.peak;
  if (const std::string wrong = replayer.finish(events); !wrong.empty()) {
    r.text = "the books do not close: " + wrong;
    return r;
  }
  r.closed = true;
  r.text = fmt::format(
      "the books close at each of {} events: {} allocations match their frees (or are among {} still live), "
      "no two live blocks overlap, the categories sum to live bytes, the cells sum to the peak of {} bytes",
      format_count(r.n_events), format_count(r.n_allocations), format_count(r.n_live_at_end),
      format_count(r.peak_bytes));
  return r;
}

}  // namespace reckon::profiler
