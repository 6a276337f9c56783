// The tracer of an NVIDIA GPU: CUPTI's activity records, joined to ops by the number of the op call, and its
// range profiler for counters. Part of the CUDA plugin; made by make_tracer (runtime/device_observer.h).
//
// Order matters to CUPTI: subscribing and attributes before the context exists, the clock before any kind of
// record is enabled. One per process.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gpu/cupti/activity_buffers.h"
#include "gpu/cupti/counters.h"
#include "gpu/cupti/cupti_library.h"
#include "runtime/device_observer.h"

namespace reckon::profiler::cupti {

class Tracer : public DeviceTracer {
 public:
  // Null with one line in *why: no libcupti, or another tool is there already.
  static std::unique_ptr<Tracer> make(const Library& library, int device, std::string* why);
  ~Tracer() override;

  std::string_view name() const override { return name_; }
  bool start(std::string* why) override;
  void stop() override;
  bool recording() const override { return recording_; }
  void context_made() override;
  void begin_op(int64_t call, std::string_view op, std::string_view module, std::string_view phase) override;
  void end_op() override;
  void note_product(int64_t m, int64_t n, int64_t k, int64_t batch) override;
  Activity collect() override;
  DeviceMemory memory() override;
  ObserverCost cost() const override;
  DeviceCounters* counters(std::string_view dtype, std::string* why) override;

 private:
  Tracer(const Library& library, int device) : library_(library), device_(device), name_(library.name()) {}
  bool prepare(std::string* why);
  void keep_buffers_off_the_device();
  void mute();

  const Library& library_;
  int device_;
  std::string name_;
  CUpti_SubscriberHandle subscriber_ = nullptr;
  std::vector<CUpti_ActivityKind> enabled_;
  bool recording_ = false;
  int64_t call_ = 0;     // of the op that runs
  bool pushed_ = false;  // its number lies on CUPTI's stack
  std::vector<ProductRecord> products_;
  DeviceMemory memory_;
  int64_t flush_ns_ = 0;
  std::unique_ptr<RangeCounters> counters_;
};

}  // namespace reckon::profiler::cupti
