// What runs the work of a device whose memory the host cannot read: where segments come from,
// copies, kernels by the name of their op, and a place to mark which op is running. One is made by
// the CUDA plugin; another runs the very same kernels on the host, thread by thread, for tests
// (simt/). Called by Device and dispatch only.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "runtime/device_observer.h"
#include "runtime/device_spec.h"
#include "runtime/memory/source.h"

namespace reckon::ops {
struct KernelArgs;
}

namespace reckon {

using DeviceKernel = void (*)(ops::KernelArgs&);

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;  // for people: "NVIDIA H200 (driver 13.0)"
  virtual DeviceSpec spec() const = 0;        // as the hardware reports it
  virtual std::unique_ptr<MemorySource> make_source() = 0;
  virtual DeviceKernel kernel(std::string_view op) const = 0;  // null: this backend has none

  // In the order of the kernels queued so far. Both return when the host's memory may be reused.
  virtual void copy_from_host(std::byte* to, const void* from, size_t bytes) = 0;
  virtual void copy_to_host(void* to, const std::byte* from, size_t bytes) = 0;
  virtual void synchronize() = 0;

  virtual void* stream() const { return nullptr; }  // KernelArgs::stream
  virtual void* context() { return nullptr; }       // KernelArgs::context

  // Around the work of one op call. `call` numbers the calls of this device from 1; a profiler that watches the
  // hardware files what it sees under it.
  virtual void begin_op(int64_t call, std::string_view op, std::string_view module, std::string_view phase) {
    (void)call, (void)op, (void)module, (void)phase;
  }
  virtual void end_op() {}

  // Null, with one line in *why, where the hardware cannot be watched (or nobody asked for
  // it when the backend was opened).
  virtual DeviceTracer* tracer(std::string* why) {
    *why = "this backend has no tracer";
    return nullptr;
  }
};

}  // namespace reckon
