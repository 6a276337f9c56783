#include "runtime/memory/arena.h"

#include <algorithm>
#include <unordered_map>

#include "runtime/core/error.h"
#include "runtime/core/format.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace reckon {
namespace {

// In sanitizer builds the parts of a segment that no tensor owns (gaps and rounding) may not be touched, so
// that a kernel that writes past its tensor is caught although the segment is one mapping.
void forbid([[maybe_unused]] const MemorySource& source, [[maybe_unused]] std::byte* p,
            [[maybe_unused]] size_t n) {
#if defined(__SANITIZE_ADDRESS__)
  if (source.poisonable()) ASAN_POISON_MEMORY_REGION(p, n);
#endif
}
void allow([[maybe_unused]] const MemorySource& source, [[maybe_unused]] std::byte* p,
           [[maybe_unused]] size_t n) {
#if defined(__SANITIZE_ADDRESS__)
  if (source.poisonable()) ASAN_UNPOISON_MEMORY_REGION(p, n);
#endif
}

size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

constexpr size_t kLargestRequest = size_t{1} << 60;  // bytes; more is a mistake in a shape
constexpr int kGroupsInMessage = 8;

size_t segment_bytes(const ArenaPolicy& policy, size_t rounded, bool small) {
  if (small) return policy.small_segment;
  return round_up(std::max(rounded, policy.large_segment), policy.segment_round);
}

Event event_of(EventKind kind, const Block& block, const AllocTag& tag) {
  return {.kind = kind,
          .phase = tag.phase,
          .category = tag.category,
          .op = tag.op,
          .module = tag.module,
          .label = tag.label,
          .step = tag.step,
          .id = block.id,
          .bytes = static_cast<int64_t>(block.bytes),
          .rounded = static_cast<int64_t>(block.rounded),
          .segment = block.segment,
          .offset = static_cast<int64_t>(block.offset)};
}

}  // namespace

Arena::Arena(std::unique_ptr<MemorySource> source, ArenaPolicy policy, std::function<void(Event&)> emit)
    : source_(std::move(source)), policy_(policy), emit_(std::move(emit)) {}

Arena::~Arena() {
  for (Segment& s : segments_) {
    if (!s.base) continue;
    allow(*source_, s.base, s.size);
    source_->release(s.base, s.size);
  }
}

bool Arena::add_segment(size_t rounded, bool small) {
  const size_t size = segment_bytes(policy_, rounded, small);
  const auto fits = [&] { return limit_ == 0 || stats_.reserved + size <= limit_; };
  if (!fits()) release_free_segments();
  if (!fits()) return false;
  std::byte* base = source_->acquire(size);
  if (!base) return false;
  forbid(*source_, base, size);
  // Slots of released segments are reused, so that segment numbers stay small.
  auto slot = std::find_if(segments_.begin(), segments_.end(), [](const Segment& s) { return !s.base; });
  if (slot == segments_.end())
    slot = segments_.insert(segments_.end(), Segment{.pieces = std::pmr::map<size_t, Piece>(&pool_)});
  const auto index = static_cast<int32_t>(slot - segments_.begin());
  slot->base = base;
  slot->size = size;
  slot->small = small;
  slot->pieces.clear();
  slot->pieces.emplace(size_t{0}, Piece{size, true});
  gaps_[small].insert({size, index, 0});
  stats_.reserved += size;
  stats_.peak_reserved = std::max(stats_.peak_reserved, stats_.reserved);
  Event e{.kind = EventKind::segment_acquired, .id = index, .bytes = static_cast<int64_t>(size)};
  emit_(e);
  return true;
}

Block Arena::allocate(size_t bytes, const AllocTag& tag) {
  RECKON_CHECK(bytes <= kLargestRequest,
               "a request of {} bytes for op '{}' is not a sensible size: check the shapes", bytes,
               name_of(tag.op));
  const size_t rounded = round_up(std::max<size_t>(bytes, 1), policy_.granularity);
  const bool small = rounded <= policy_.small_limit;
  auto gap = gaps_[small].lower_bound({rounded, -1, 0});
  if (gap == gaps_[small].end()) {
    if (!add_segment(rounded, small)) out_of_memory(bytes, segment_bytes(policy_, rounded, small), tag);
    gap = gaps_[small].lower_bound({rounded, -1, 0});
  }
  const Gap g = *gap;
  gaps_[small].erase(gap);
  Segment& segment = segments_[g.segment];
  segment.pieces[g.offset] = {rounded, false};
  if (g.size > rounded) {
    segment.pieces[g.offset + rounded] = {g.size - rounded, true};
    gaps_[small].insert({g.size - rounded, g.segment, g.offset + rounded});
  }

  Block block{next_id_++, g.segment, g.offset, bytes, rounded, segment.base + g.offset};
  allow(*source_, block.data, bytes);
  live_.emplace(block.id, Live{tag, bytes});
  by_category_[static_cast<size_t>(tag.category)] += bytes;
  ++stats_.n_allocations;
  stats_.requested += bytes;
  stats_.rounded += rounded;
  stats_.peak_requested = std::max(stats_.peak_requested, stats_.requested);
  stats_.peak_rounded = std::max(stats_.peak_rounded, stats_.rounded);
  Event e = event_of(EventKind::allocated, block, tag);
  emit_(e);
  return block;
}

void Arena::free(const Block& block) noexcept {
  auto live = live_.find(block.id);
  if (live == live_.end()) return;
  const AllocTag tag = live->second.tag;
  live_.erase(live);
  by_category_[static_cast<size_t>(tag.category)] -= block.bytes;
  stats_.requested -= block.bytes;
  stats_.rounded -= block.rounded;

  forbid(*source_, block.data, block.rounded);
  Segment& segment = segments_[block.segment];
  auto& gaps = gaps_[segment.small];
  auto piece = segment.pieces.find(block.offset);
  piece->second.free = true;
  if (auto next = std::next(piece); next != segment.pieces.end() && next->second.free) {
    gaps.erase({next->second.size, block.segment, next->first});
    piece->second.size += next->second.size;
    segment.pieces.erase(next);
  }
  if (piece != segment.pieces.begin()) {
    if (auto previous = std::prev(piece); previous->second.free) {
      gaps.erase({previous->second.size, block.segment, previous->first});
      previous->second.size += piece->second.size;
      segment.pieces.erase(piece);
      piece = previous;
    }
  }
  gaps.insert({piece->second.size, block.segment, piece->first});

  Event e = event_of(EventKind::freed, block, tag);
  emit_(e);
}

void Arena::recategorize(const Block& block, Category category, EventKind kind) {
  auto live = live_.find(block.id);
  RECKON_ASSERT(live != live_.end());
  AllocTag& tag = live->second.tag;
  Event e = event_of(kind, block, tag);
  e.category_before = tag.category;
  e.category = category;
  by_category_[static_cast<size_t>(tag.category)] -= block.bytes;
  by_category_[static_cast<size_t>(category)] += block.bytes;
  tag.category = category;
  emit_(e);
}

Category Arena::category_of(const Block& block) const {
  auto live = live_.find(block.id);
  RECKON_ASSERT(live != live_.end());
  return live->second.tag.category;
}

void Arena::release_free_segments() {
  for (size_t i = 0; i < segments_.size(); ++i) {
    Segment& s = segments_[i];
    if (!s.base || s.pieces.size() != 1 || !s.pieces.begin()->second.free) continue;
    gaps_[s.small].erase({s.size, static_cast<int32_t>(i), 0});
    allow(*source_, s.base, s.size);
    source_->release(s.base, s.size);
    stats_.reserved -= s.size;
    Event e{.kind = EventKind::segment_released,
            .id = static_cast<int64_t>(i),
            .bytes = static_cast<int64_t>(s.size)};
    s.base = nullptr;
    s.size = 0;
    s.pieces.clear();
    emit_(e);
  }
}

ArenaStats Arena::stats() const {
  ArenaStats out = stats_;
  for (const auto& gaps : gaps_)
    if (!gaps.empty()) out.largest_free_block = std::max(out.largest_free_block, gaps.rbegin()->size);
  return out;
}

long long Arena::resident_bytes() const {
  long long total = 0;
  for (const Segment& s : segments_) {
    if (!s.base) continue;
    const long long r = source_->resident_bytes(s.base, s.size);
    if (r < 0) return -1;
    total += r;
  }
  return total;
}

std::string Arena::largest_groups(int count) const {
  std::map<std::tuple<NameId, NameId, Category>, size_t> groups;
  for (const auto& [id, live] : live_) groups[{live.tag.op, live.tag.module, live.tag.category}] += live.bytes;
  std::vector<std::pair<size_t, std::tuple<NameId, NameId, Category>>> order;
  for (const auto& [key, bytes] : groups) order.emplace_back(bytes, key);
  std::sort(order.rbegin(), order.rend());
  std::string text;
  for (const auto& [bytes, key] : order) {
    if (count-- == 0) break;
    const auto& [op, module, category] = key;
    text += fmt::format("\n    {:>12}  {:<10} {} in {}", format_bytes(bytes), name_of(category), name_of(op),
                        module.index ? name_of(module) : "(top)");
  }
  return text;
}

void Arena::out_of_memory(size_t bytes, size_t segment_bytes, const AllocTag& tag) const {
  const ArenaStats s = stats();
  const std::string limit =
      limit_ ? fmt::format("the memory limit of {}", format_bytes(limit_)) : std::string("the device");
  throw OutOfMemory(fmt::format(
      "out of memory: op '{}' in module '{}' (phase {}, category {}, tensor '{}') asked for {} ({} bytes), "
      "which needs a segment of {};\n"
      "  {} is exhausted: {} requested, {} rounded, {} reserved; largest free gap {}\n"
      "  largest live groups:{}\n"
      "  likely help: a smaller batch or sequence, --checkpoint block, --fuse all, or a lower precision",
      name_of(tag.op), tag.module.index ? name_of(tag.module) : "(top)", name_of(tag.phase),
      name_of(tag.category), name_of(tag.label), format_bytes(bytes), bytes, format_bytes(segment_bytes), limit,
      format_bytes(s.requested), format_bytes(s.rounded), format_bytes(s.reserved),
      format_bytes(s.largest_free_block), largest_groups(kGroupsInMessage)));
}

}  // namespace reckon
