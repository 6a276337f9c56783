// What was seen of a device's own work and memory, filed under the ops that asked for it: plain values, written
// by profiler/device_trace and read by the reports and by run.json. Unknown figures are absent, never 0.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "profiler/origin.h"
#include "runtime/device_observer.h"
#include "runtime/events/event.h"

namespace reckon::profiler {

struct Product {
  int64_t m = 0, n = 0, k = 0, batch = 1;
  int64_t count = 0;
  friend bool operator==(const Product&, const Product&) = default;
};

// The observed work of one op in one module and phase.
struct DeviceCell {
  NameId op{}, module{};
  Phase phase{};
  int64_t calls = 0;
  // Launches the op announced while it ran: the planned ones, since a call that
  // differs from its plan is stopped.
  std::array<int64_t, kLaunchKinds> announced{};
  // Launches that were seen on the device.
  int64_t own_kernels = 0, library_kernels = 0, copies = 0, sets = 0;
  int64_t calls_that_differ = 0;  // where the kernels seen are not the ones announced
  int64_t device_ns = 0;          // of those that have times
  int64_t untimed = 0;            // launches seen without times
  std::vector<int32_t> kernels;   // that ran here, in DeviceStep::kernels
  std::vector<Product> products;  // that libraries were asked for

  int64_t seen() const { return own_kernels + library_kernels + copies + sets; }
  int64_t announced_directly() const;  // without library calls, whose kernels the library chooses
  friend bool operator==(const DeviceCell&, const DeviceCell&) = default;
};

struct KernelLine {
  std::string name;  // mangled
  bool own = false;  // one of ours
  int64_t count = 0, device_ns = 0, untimed = 0;
  friend bool operator==(const KernelLine&, const KernelLine&) = default;
};

// Work that no op asked for, or that nothing could be said about.
struct UnfiledLine {
  std::string what;
  int64_t count = 0, bytes = 0, device_ns = 0, untimed = 0;
  friend bool operator==(const UnfiledLine&, const UnfiledLine&) = default;
};

struct DeviceStep {
  int64_t step = -1;
  std::vector<DeviceCell> cells;     // by device time, largest first
  std::vector<KernelLine> kernels;   // likewise
  std::vector<UnfiledLine> unfiled;  // likewise
  int64_t busy_ns = 0;               // at least one kernel, copy or set was running
  int64_t n_ambiguous = 0;           // API calls that claim to belong to two ops
  int64_t n_dropped = 0, n_damaged = 0, n_unknown = 0;

  bool complete() const { return n_dropped == 0 && n_damaged == 0; }
  int64_t calls_that_differ() const;
  friend bool operator==(const DeviceStep&, const DeviceStep&) = default;
};

// One line of the closure of a device's memory.
struct ClosureLine {
  std::string name;
  std::optional<int64_t> bytes;  // absent: unknown
  Origin origin = Origin::measured;
  std::string note;
  friend bool operator==(const ClosureLine&, const ClosureLine&) = default;
};

struct DeviceClosure {
  std::optional<int64_t> used;  // of the device, by its own account
  std::vector<ClosureLine> lines;
  std::optional<int64_t> unexplained;  // used less all known lines; negative when lines overlap
  bool has_unknown_lines = false;      // then they are inside `unexplained`
  friend bool operator==(const DeviceClosure&, const DeviceClosure&) = default;
};

// What the counters saw, by op, module and phase. Operations count a multiply-add as two.
struct CountedWork {
  NameId op{}, module{};
  Phase phase{};
  std::optional<int64_t> tensor_bf16, tensor_f16, tensor_tf32;  // by the type of the operands
  std::optional<int64_t> scalar;                                // on the ordinary arithmetic units
  std::optional<int64_t> special;  // instructions of the unit for exp, sqrt, ..., times 32 lanes
  std::optional<int64_t> dram_read, dram_written, l2_bytes;
  std::optional<int64_t> time_ns;  // while counting: not the time of the work
  friend bool operator==(const CountedWork&, const CountedWork&) = default;
};

struct CounterBooks {
  std::string chip;
  int64_t n_passes = 0;
  int64_t first_step = 0;                // the passes took one step each, from here on
  bool joint_tensor_types = false;       // this chip counts bf16, f16 and tf32 together: in tensor_bf16
  bool half_weights_assumed = false;     // f16 instructions are taken as packed ones
  int64_t n_dropped = 0, n_unfiled = 0;  // ranges without room; ranges of unknown names
  std::vector<CountedWork> work;
  friend bool operator==(const CounterBooks&, const CounterBooks&) = default;
};

struct DeviceBooks {
  std::string tracer;
  std::optional<DeviceStep> step;  // the last one that was traced
  int64_t steps_traced = 0, steps_that_differ = 0, steps_incomplete = 0;
  std::optional<DeviceClosure> closure;
  std::optional<CounterBooks> counters;
  int64_t observer_host_bytes = 0, observer_host_ns = 0;
  int64_t tracer_overhead_ns = 0;  // by the tracer's own account, over all steps
  int64_t module_loading_ns = 0;   // the driver loading code, over all steps
  std::vector<std::string> notes;  // what could not be had, and why
  friend bool operator==(const DeviceBooks&, const DeviceBooks&) = default;
};

}  // namespace reckon::profiler
