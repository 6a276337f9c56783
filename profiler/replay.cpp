#include "profiler/replay.h"

namespace reckon::profiler {

void Replay::count_saved(const LiveBlock& block, int64_t sign) {
  if (block.saved) (is_alias(block.category) ? saved_alias : saved) += sign * block.bytes;
}

void Replay::apply(const Event& e) {
  if (tells_phase(e.kind)) phase = e.phase;
  switch (e.kind) {
    case EventKind::segment_acquired:
      reserved += e.bytes;
      return;
    case EventKind::segment_released:
      reserved -= e.bytes;
      return;
    case EventKind::allocated:
      live[e.id] = {e.id, e.op, e.module, e.label, e.phase, e.category, e.step, e.bytes, e.rounded, false};
      bytes += e.bytes;
      rounded += e.rounded;
      by_category[static_cast<size_t>(e.category)] += e.bytes;
      return;
    case EventKind::freed:
    case EventKind::saved:
    case EventKind::unsaved:
    case EventKind::recategorized:
      break;
    default:
      return;
  }
  const auto found = live.find(e.id);
  if (found == live.end()) {
    ++n_unknown;
    return;
  }
  LiveBlock& block = found->second;
  count_saved(block, -1);
  by_category[static_cast<size_t>(block.category)] -= block.bytes;
  if (e.kind == EventKind::freed) {
    bytes -= block.bytes;
    rounded -= block.rounded;
    live.erase(found);
    return;
  }
  block.category = e.category;
  if (e.kind == EventKind::saved) block.saved = true;
  if (e.kind == EventKind::unsaved) block.saved = false;
  by_category[static_cast<size_t>(block.category)] += block.bytes;
  count_saved(block, 1);
}

}  // namespace reckon::profiler
