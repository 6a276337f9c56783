// What is live while an event log goes by. The ledger replays a step with it, exports draw curves with it.
#pragma once

#include <unordered_map>

#include "profiler/books.h"

namespace reckon::profiler {

// Would exist without backward too: holding it costs nothing.
constexpr bool is_alias(Category c) {
  return c == Category::parameter || c == Category::input || c == Category::gradient ||
         c == Category::optimizer || c == Category::kv_cache;
}

// Events that say which phase the program is in (a freed block carries the phase of its birth).
constexpr bool tells_phase(EventKind k) {
  return k == EventKind::op_begin || k == EventKind::launched || k == EventKind::allocated;
}

constexpr bool changes_memory(EventKind k) { return k <= EventKind::recategorized; }

struct Replay {
  std::unordered_map<int64_t, LiveBlock> live;
  int64_t bytes = 0, rounded = 0, reserved = 0;
  ByCategory<int64_t> by_category{};
  int64_t saved = 0, saved_alias = 0;
  int64_t n_unknown = 0;  // events about blocks that are not in the table
  Phase phase{};

  void apply(const Event& e);

 private:
  void count_saved(const LiveBlock& block, int64_t sign);
};

}  // namespace reckon::profiler
