// Keeps every event of a device, and says where two runs part.
#pragma once

#include <string>
#include <vector>

#include "runtime/device.h"

namespace reckon::testing {

struct EventLog : EventSink {
  void on(const Event& e) override { events.push_back(e); }
  std::vector<Event> events;
};

// Empty when equal; else the first difference in words.
std::string first_difference(const std::vector<Event>& a, const std::vector<Event>& b);
std::string describe(const Event& e);

}  // namespace reckon::testing
