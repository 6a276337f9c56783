// Keeps the books of one device while a program runs. Add it as a sink before the first allocation; it costs a
// copy of each event and closes the books when a step ends. Reads events only.
#pragma once

#include <span>
#include <vector>

#include "profiler/books.h"
#include "profiler/replay.h"

namespace reckon::profiler {

class Ledger : public EventSink {
 public:
  void on(const Event& event) override;

  // From now on every event is kept, for audits, traces and the closure check.
  void keep_events(bool on) { keep_ = on; }
  std::span<const Event> events() const { return kept_; }
  // Events of the step that was closed last (always kept).
  std::span<const Event> last_step_events() const { return last_log_; }

  // Closes what happened since the last step ended. Call it once the run is over (or before reading the books
  // of a program without steps); a step that is still open is closed as it stands.
  void close();
  const RunBooks& books() const { return books_; }
  // As of the last close.
  int64_t live_bytes() const { return state_.bytes; }
  int64_t reserved_bytes() const { return state_.reserved; }

  // Heap bytes the ledger holds itself: logs and table (capacities).
  int64_t own_bytes() const;

 private:
  void file(StepBooks books, bool is_step);

  std::vector<Event> log_, last_log_, kept_;
  Replay state_;  // before the first event of log_
  bool keep_ = false;
  RunBooks books_;
};

// The books of a complete event log (one that starts with its device).
RunBooks books_of(std::span<const Event> events);

}  // namespace reckon::profiler
