#include "runtime/device.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "runtime/core/error.h"
#include "runtime/events/scope.h"

namespace reckon {
namespace {

std::unique_ptr<MemorySource> source_for(DeviceKind kind, Backend* backend) {
  if (backend) return backend->make_source();
  return kind == DeviceKind::meta ? make_fake_source() : make_host_source();
}

}  // namespace

Device::Device(DeviceKind kind, DeviceSpec spec, DeviceOptions options, std::unique_ptr<Backend> backend)
    : kind_(kind), spec_(std::move(spec)), options_(options), backend_(std::move(backend)) {
  RECKON_CHECK((kind == DeviceKind::cuda) == (backend_ != nullptr), "a device of kind {} {} a backend",
               name_of(kind), backend_ ? "takes no" : "needs");
  RECKON_CHECK(kind != DeviceKind::cuda || spec_.kind == DeviceKind::cuda,
               "a cuda device needs a spec of kind cuda, got '{}' of kind {}", spec_.name, name_of(spec_.kind));
  arena_ =
      std::make_unique<Arena>(source_for(kind, backend_.get()), spec_.memory, [this](Event& e) { emit(e); });
  arena_->set_limit(options_.memory_limit_bytes);
}

Device::~Device() = default;

void Device::copy_from_host(std::byte* to, const void* from, size_t bytes) {
  RECKON_CHECK(executes(), "a meta device has no memory to write to");
  if (bytes == 0) return;
  if (backend_)
    backend_->copy_from_host(to, from, bytes);
  else
    std::memcpy(to, from, bytes);
}

void Device::copy_to_host(void* to, const std::byte* from, size_t bytes) {
  RECKON_CHECK(executes(), "a meta device has no memory to read from: a dry run must not depend on values");
  if (bytes == 0) return;
  if (backend_)
    backend_->copy_to_host(to, from, bytes);
  else
    std::memcpy(to, from, bytes);
}

void Device::synchronize() {
  if (backend_) backend_->synchronize();
}

void Device::add_sink(EventSink* sink) { sinks_.push_back(sink); }
void Device::remove_sink(EventSink* sink) { std::erase(sinks_, sink); }

void Device::emit(Event& event) {
  if (sinks_.empty()) return;
  event.t_ns =
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count();
  for (EventSink* sink : sinks_) sink->on(event);
}

void Device::note_launch(LaunchKind kind, NameId kernel) {
  ++n_launches_;
  if (sinks_.empty()) return;
  const Context& c = context();
  Event e{.kind = EventKind::launched,
          .phase = c.phase,
          .launch = kind,
          .op = c.op,
          .module = c.module,
          .label = kernel,
          .step = c.step};
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
