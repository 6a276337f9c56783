// Watches a device through its backend's tracer while a program runs, and files what it sees under the ops. Add
// it as a sink beside the ledger: the events say which op call runs and what it announces, the tracer says what
// ran. Per step it waits for the device and reads the tracer's records.
#pragma once

#include <string>
#include <vector>

#include "profiler/device_books.h"
#include "profiler/device_join.h"
#include "profiler/driver_grants.h"
#include "runtime/device.h"

namespace reckon::profiler {

class DeviceTrace : public EventSink {
 public:
  // Both must outlive it. `own_source`: the shared object that takes the arena's segments.
  DeviceTrace(Device& device, DeviceTracer& tracer, std::string own_source = "libreckon_cuda.so");
  ~DeviceTrace() override;

  bool start(std::string* why);
  // Steps from `first` on are counted instead of traced, one per pass of the counters; all steps must do the
  // same work from there on. `n_steps`: how many steps there are from `first`; one is left for tracing. Returns
  // the passes; 0, with a note in the books, when counters cannot be had.
  int count_steps(int64_t first, int64_t n_steps, std::string_view dtype);
  void on(const Event& event) override;
  // Ends the watch and closes the device's memory against the arena as it is now.
  DeviceBooks finish();

 private:
  void collect(bool of_step);
  void begin_step(int64_t step);
  void end_step(int64_t step);
  void end_counting();

  Device& device_;
  DeviceTracer& tracer_;
  std::string own_source_;
  DeviceBooks books_;
  DriverGrants grants_;
  std::vector<CallRow> calls_;  // of the step so far
  Activity activity_;
  DeviceCounters* counters_ = nullptr;  // while passes are to be made
  int64_t count_from_ = 0;
  int64_t most_calls_ = 0;  // in one step
  bool in_pass_ = false;
  bool running_ = false;  // between start and finish
};

}  // namespace reckon::profiler
