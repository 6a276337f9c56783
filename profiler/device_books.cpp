#include "profiler/device_books.h"

namespace reckon::profiler {

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

}  // namespace reckon::profiler
