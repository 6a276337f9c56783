#include "runtime/device.h"

#include <algorithm>
#include <chrono>

#include "runtime/core/error.h"
#include "runtime/scope.h"

namespace reckon {
namespace {

std::unique_ptr<MemorySource> source_for(DeviceKind kind) {
  RECKON_CHECK(kind != DeviceKind::cuda, "device cuda is not part of this build: expected cpu or meta");
  return kind == DeviceKind::meta ? make_fake_source() : make_host_source();
}

}  // namespace

Device::Device(DeviceKind kind, DeviceSpec spec, DeviceOptions options)
    : kind_(kind), spec_(std::move(spec)), options_(options) {
  arena_ = std::make_unique<Arena>(source_for(kind), spec_.memory, [this](Event& e) { emit(e); });
  arena_->set_limit(options_.memory_limit_bytes);
}

Device::~Device() = default;

void Device::add_sink(EventSink* sink) { sinks_.push_back(sink); }
void Device::remove_sink(EventSink* sink) { std::erase(sinks_, sink); }

void Device::emit(Event& event) {
  if (sinks_.empty()) return;
  event.t_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
  for (EventSink* sink : sinks_) sink->on(event);
}

void Device::note_launch(LaunchKind kind, NameId kernel) {
  ++n_launches_;
  if (sinks_.empty()) return;
  const Context& c = context();
  Event e{.kind = EventKind::launched, .phase = c.phase, .launch = kind, .op = c.op, .module = c.module, .label = kernel, .step = c.step};
  emit(e);
}

void Device::begin_step(int64_t step) {
  context().step = step;
  Event e{.kind = EventKind::step_begin, .step = step};
  emit(e);
}

void Device::end_step() {
  Event e{.kind = EventKind::step_end, .step = context().step};
  emit(e);
}

}  // namespace reckon
