#include "profiler/device_books.h"

#include <array>

namespace reckon::profiler {

std::string_view name_of(Origin o) {
  constexpr std::array<std::string_view, kOrigins> names{"measured", "counted", "derived", "formula"};
  return names[static_cast<size_t>(o)];
}

std::string_view mark_of(Origin o) {
  constexpr std::array<std::string_view, kOrigins> marks{"[m]", "[c]", "[d]", "[f]"};
  return marks[static_cast<size_t>(o)];
}

int64_t DeviceCell::announced_directly() const {
  int64_t n = 0;
  for (size_t k = 0; k < kLaunchKinds; ++k)
    if (static_cast<LaunchKind>(k) != LaunchKind::library) n += announced[k];
  return n;
}

int64_t DeviceStep::calls_that_differ() const {
  int64_t n = 0;
  for (const DeviceCell& c : cells) n += c.calls_that_differ;
  return n;
}

DeviceCell DeviceStep::sum() const {
  DeviceCell s;
  for (const DeviceCell& c : cells) {
    s.calls += c.calls;
    for (size_t k = 0; k < kLaunchKinds; ++k) s.announced[k] += c.announced[k];
    s.own_kernels += c.own_kernels;
    s.library_kernels += c.library_kernels;
    s.copies += c.copies;
    s.sets += c.sets;
    s.calls_that_differ += c.calls_that_differ;
    s.device_ns += c.device_ns;
    s.untimed += c.untimed;
  }
  return s;
}

}  // namespace reckon::profiler
