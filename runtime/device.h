// A device owns an arena and tells its sinks what happens. `meta` runs the same code with no data. A
// device must outlive its tensors.
#pragma once

#include <memory>
#include <vector>

#include "runtime/backend.h"
#include "runtime/device_spec.h"
#include "runtime/events/event.h"
#include "runtime/memory/arena.h"

namespace reckon {

struct DeviceOptions {
  size_t memory_limit_bytes = 0;  // of reserved bytes; 0 means none
  bool check_finite = false;      // after each op look for NaN or infinity in its outputs (reads every output)
};

class Device {
 public:
  // cuda needs a backend; cpu and meta have none.
  Device(DeviceKind kind, DeviceSpec spec, DeviceOptions options = {},
         std::unique_ptr<Backend> backend = nullptr);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  DeviceKind kind() const { return kind_; }
  bool executes() const { return kind_ != DeviceKind::meta; }
  const DeviceSpec& spec() const { return spec_; }
  const DeviceOptions& options() const { return options_; }
  Backend* backend() { return backend_.get(); }  // null on cpu and meta
  Arena& arena() { return *arena_; }
  const Arena& arena() const { return *arena_; }

  // Copies between the host and this device's memory; Error on meta, which has no data.
  void copy_from_host(std::byte* to, const void* from, size_t bytes);
  void copy_to_host(void* to, const std::byte* from, size_t bytes);
  void synchronize();  // waits for the work queued so far

  // Sinks see every event from then on, in order. A sink must stay alive until removed.
  void add_sink(EventSink* sink);
  void remove_sink(EventSink* sink);
  bool observed() const { return !sinks_.empty(); }

  // Fills in the time and hands the event to the sinks.
  void emit(Event& event);
  // The door for launches: one kernel, library call, fill or copy is about to run under the current scope.
  // Nothing runs without passing here, so what is counted here is all there is.
  void note_launch(LaunchKind kind, NameId kernel);
  // Step marks, so that readers can close their books per step.
  void begin_step(int64_t step);
  void end_step();
  int64_t n_launches() const { return n_launches_; }
  int64_t next_call() { return ++n_calls_; }    // numbers the op calls of this device from 1
  int64_t n_calls() const { return n_calls_; }  // while an op runs: its number

 private:
  DeviceKind kind_;
  DeviceSpec spec_;
  DeviceOptions options_;
  std::vector<EventSink*> sinks_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Arena> arena_;
  int64_t n_launches_ = 0, n_calls_ = 0;
};

}  // namespace reckon
