// A CPU device on which every allocation takes a segment of its own, so that the n-th one can be made to fail.
#pragma once

#include <memory>

#include "runtime/device.h"
#include "runtime/events/event.h"

namespace reckon::testing {

class FailingDevice : EventSink {
 public:
  explicit FailingDevice(DeviceKind kind = DeviceKind::cpu) {
    DeviceSpec spec = DeviceSpec::this_machine();
    spec.threads = 1;
    constexpr size_t kGranule = 4096;  // a page, the least that can be taken from the system
    spec.memory = {.granularity = kGranule,
                   .small_limit = 0,
                   .small_segment = kGranule,
                   .large_segment = kGranule,
                   .segment_round = kGranule};
    device_ = std::make_unique<Device>(kind, spec);
    device_->add_sink(this);
  }
  ~FailingDevice() override { device_->remove_sink(this); }
  Device& operator*() { return *device_; }
  Device* operator->() { return device_.get(); }

  // The n-th allocation from here on raises OutOfMemory, and those after it; 0: none.
  void fail_at(int64_t n) {
    left_ = n;
    set_limit();
  }

 private:
  // A freed segment must not serve another request, whole or in part: that one would not ask for memory.
  void on(const Event& e) override {
    if (e.kind == EventKind::freed) device_->arena().release_free_segments();
    if (e.kind == EventKind::allocated && left_ > 1) {
      --left_;
      set_limit();
    }
  }
  void set_limit() { device_->arena().set_limit(left_ == 1 ? 1 : 0); }

  std::unique_ptr<Device> device_;
  int64_t left_ = 0;
};

}  // namespace reckon::testing
