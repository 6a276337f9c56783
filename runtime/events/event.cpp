#include "runtime/events/event.h"

namespace reckon {

std::string_view name_of(Category c) {
  constexpr std::array<std::string_view, kCategories> names{
      "parameter", "gradient", "optimizer", "saved", "cast", "transient", "workspace", "input", "kv_cache"};
  return names[static_cast<size_t>(c)];
}

std::string_view name_of(Phase p) {
  constexpr std::array<std::string_view, kPhases> names{"init",     "data",      "forward",   "loss",
                                                        "backward", "recompute", "optimizer", "communication"};
  return names[static_cast<size_t>(p)];
}

std::string_view name_of(LaunchKind k) {
  constexpr std::array<std::string_view, kLaunchKinds> names{"kernel", "library", "fill", "copy"};
  return names[static_cast<size_t>(k)];
}

std::string_view name_of(EventKind k) {
  constexpr std::array<std::string_view, 12> names{
      "segment_acquired", "segment_released", "allocated", "freed",    "saved",      "unsaved",
      "recategorized",    "op_begin",         "op_end",    "launched", "step_begin", "step_end"};
  return names[static_cast<size_t>(k)];
}

Cost& Cost::operator+=(const Cost& o) {
  matmul_flops += o.matmul_flops;
  vector_flops += o.vector_flops;
  special += o.special;
  bytes_read += o.bytes_read;
  bytes_written += o.bytes_written;
  return *this;
}

bool Event::same_as(const Event& o) const {
  return kind == o.kind && phase == o.phase && category == o.category && category_before == o.category_before &&
         launch == o.launch && op == o.op && module == o.module && label == o.label && step == o.step &&
         id == o.id && bytes == o.bytes && rounded == o.rounded && segment == o.segment && offset == o.offset &&
         cost == o.cost && signature == o.signature;
}

}  // namespace reckon
