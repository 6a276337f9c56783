// Two proofs over event logs: that a dry run predicted a run event for event, and that the books of a log close
// at every event. Called by `reckon audit` and by tests.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "runtime/events/event.h"

namespace reckon::profiler {

struct AuditResult {
  bool equal = false;
  int64_t n_events = 0;           // that agree, from the start
  int64_t first_difference = -1;  // index, when not equal
  std::string text;               // one line when equal; else the difference with the events around it
};
AuditResult audit(std::span<const Event> predicted, std::span<const Event> executed);

// Replays a complete log (one that starts with its device) and verifies at every event: frees and
// changes match their allocation, live blocks lie inside their segment and do not overlap, rounded >=
// requested, the categories sum to live bytes, live <= reserved; ops and steps nest; and at the end that
// the cells of the peak sum to it.
struct BooksCheck {
  bool closed = false;
  int64_t n_events = 0, n_allocations = 0, n_live_at_end = 0;
  int64_t peak_bytes = 0;
  int64_t at = -1;   // index of the event that violates, -1 for a violation of the whole
  std::string text;  // what was verified, or the first violation
};
BooksCheck check_books(std::span<const Event> events);

std::string describe(const Event& event);  // one line, without the time

}  // namespace reckon::profiler
