// The only allocator of tensor and workspace bytes, and so the door where bytes are counted. Best fit with
// splitting and merging over segments of a MemorySource; it never touches the bytes, so over fake segments it
// makes the same choices and a dry run predicts reserved bytes and fragmentation as well as requested bytes.
//
// Requested = bytes asked for; rounded = up to the granularity; reserved = segments held.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <memory_resource>
#include <set>
#include <string>
#include <vector>

#include "runtime/events/event.h"
#include "runtime/memory/source.h"

namespace reckon {

struct AllocTag {
  NameId op, module, label;
  Phase phase;
  Category category;
  int64_t step;
};

// How segments are cut; part of a DeviceSpec. Requests up to small_limit share segments of small_segment bytes,
// larger ones come from segments of at least large_segment bytes, rounded to segment_round.
struct ArenaPolicy {
  size_t granularity = 64;
  size_t small_limit = size_t{1} << 20;
  size_t small_segment = size_t{2} << 20;
  size_t large_segment = size_t{20} << 20;
  size_t segment_round = size_t{2} << 20;
};

struct Block {
  int64_t id = -1;
  int32_t segment = -1;
  size_t offset = 0;
  size_t bytes = 0;  // requested
  size_t rounded = 0;
  std::byte* data = nullptr;
};

struct ArenaStats {
  size_t requested = 0, rounded = 0, reserved = 0;
  size_t peak_requested = 0, peak_rounded = 0, peak_reserved = 0;
  int64_t n_allocations = 0;
  size_t largest_free_block = 0;
};

class Arena {
 public:
  // `emit` receives memory events with kind, id, bytes, rounded, segment, offset and tag filled in.
  Arena(std::unique_ptr<MemorySource> source, ArenaPolicy policy, std::function<void(Event&)> emit);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Throws OutOfMemory (with op, module, phase, the request, the largest live groups and the largest free gap)
  // when the limit or the source is exhausted. A request of 0 bytes gets a block of one granule.
  Block allocate(size_t bytes, const AllocTag& tag);
  void free(const Block& block) noexcept;
  void recategorize(const Block& block, Category category, EventKind kind);
  Category category_of(const Block& block) const;

  void set_limit(size_t reserved_bytes) { limit_ = reserved_bytes; }  // 0 means none
  size_t limit() const { return limit_; }
  void release_free_segments();
  ArenaStats stats() const;
  size_t live_bytes(Category c) const { return by_category_[static_cast<size_t>(c)]; }
  long long resident_bytes() const;  // of all segments; -1 when unknown
  const MemorySource& source() const { return *source_; }

 private:
  struct Piece {
    size_t size;
    bool free;
  };
  struct Segment {
    std::byte* base = nullptr;
    size_t size = 0;
    bool small = false;
    std::pmr::map<size_t, Piece> pieces;  // by offset
  };
  struct Gap {
    size_t size;
    int32_t segment;
    size_t offset;
    auto operator<=>(const Gap&) const = default;
  };
  struct Live {
    AllocTag tag;
    size_t bytes;
  };

  bool add_segment(size_t rounded, bool small);
  [[noreturn]] void out_of_memory(size_t bytes, size_t segment_bytes, const AllocTag& tag) const;
  std::string largest_groups(int count) const;

  std::unique_ptr<MemorySource> source_;
  ArenaPolicy policy_;
  std::function<void(Event&)> emit_;
  // The tables below change with every allocation: their nodes come from a pool instead of the heap.
  std::pmr::unsynchronized_pool_resource pool_;
  std::vector<Segment> segments_;
  // [large, small], by size, then address
  std::pmr::set<Gap> gaps_[2] = {std::pmr::set<Gap>(&pool_), std::pmr::set<Gap>(&pool_)};
  std::pmr::map<int64_t, Live> live_{&pool_};
  int64_t next_id_ = 0;
  size_t limit_ = 0;
  ArenaStats stats_;
  std::array<size_t, kCategories> by_category_{};
};

}  // namespace reckon
