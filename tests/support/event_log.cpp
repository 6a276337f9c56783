#include "tests/support/event_log.h"

#include <fmt/format.h>

namespace reckon::testing {

std::string describe(const Event& e) {
  return fmt::format(
      "{} op={} module={} label={} phase={} category={}<-{} id={} bytes={} rounded={} at {}+{} flops={}",
      name_of(e.kind), name_of(e.op), name_of(e.module), name_of(e.label), name_of(e.phase),
      name_of(e.category), name_of(e.category_before), e.id, e.bytes, e.rounded, e.segment, e.offset,
      e.cost.matmul_flops);
}

std::string first_difference(const std::vector<Event>& a, const std::vector<Event>& b) {
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    if (!a[i].same_as(b[i])) return fmt::format("event {}:\n  {}\n  {}", i, describe(a[i]), describe(b[i]));
  if (a.size() != b.size()) return fmt::format("{} events against {}", a.size(), b.size());
  return "";
}

}  // namespace reckon::testing
