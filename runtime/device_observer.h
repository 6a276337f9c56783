// What can be seen of a device's own work, as plain values, and the interfaces through which a backend offers
// to watch it. Filled by the plugin (gpu/cupti), read by the profiler. Nothing here refers to this program's
// table of names: a plugin has a table of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace reckon {

// Times are ns of the clock that events use; 0: not collected. `correlation` is equal
// in all records of one API call.
struct KernelRecord {
  uint32_t correlation = 0;
  int32_t name = 0;  // in Activity::names, as the compiler mangled it
  int64_t start_ns = 0, end_ns = 0;
  uint32_t device = 0, context = 0, stream = 0;
  int32_t grid[3] = {}, block[3] = {};
  int32_t registers = 0, static_shared = 0, dynamic_shared = 0;
  int64_t local_bytes = 0;  // of the whole launch: spilled registers and local arrays
  uint32_t graph = 0;
  uint64_t graph_node = 0;
};

enum class CopyKind : uint8_t { to_device, to_host, on_device, other };

struct CopyRecord {
  uint32_t correlation = 0;
  CopyKind kind = CopyKind::other;
  int64_t bytes = 0, start_ns = 0, end_ns = 0;
  uint32_t device = 0, stream = 0;
};

struct SetRecord {
  uint32_t correlation = 0;
  int64_t bytes = 0, start_ns = 0, end_ns = 0;
  uint32_t device = 0, stream = 0;
};

enum class DriverMemory : uint8_t { device, pinned, managed, other };

// Memory that the driver granted or took back.
struct MemoryRecord {
  uint32_t correlation = 0;
  bool release = false;
  bool from_pool = false;
  DriverMemory kind = DriverMemory::other;
  int32_t source = 0;  // in Activity::names: the shared object that asked; the empty name when unknown
  uint64_t address = 0;
  int64_t bytes = 0, t_ns = 0;
  uint32_t device = 0;
};

struct ApiRecord {
  uint32_t correlation = 0;
  bool driver = false;  // else of the runtime library
  uint32_t function = 0;
  uint32_t thread = 0;
  int32_t result = 0;
  int64_t start_ns = 0, end_ns = 0;
};

// The API call was made inside op call `call` (see Backend::begin_op).
struct CorrelationRecord {
  uint32_t correlation = 0;
  int64_t call = 0;
};

enum class OverheadKind : uint8_t {
  buffer_flush,
  instrumentation,
  resource,
  module_loading,
  function_loading,
  compiler,
  other
};

// Time the host lost to the tracer itself or to the driver's bookkeeping.
struct OverheadRecord {
  OverheadKind kind = OverheadKind::other;
  int64_t start_ns = 0, end_ns = 0;
};

// A matrix product that a library was asked for inside op call `call`.
struct ProductRecord {
  int64_t call = 0, m = 0, n = 0, k = 0, batch = 1;
};

// Everything that finished between two readings.
struct Activity {
  std::vector<std::string> names{""};
  std::vector<KernelRecord> kernels;
  std::vector<CopyRecord> copies;
  std::vector<SetRecord> sets;
  std::vector<MemoryRecord> memory;
  std::vector<ApiRecord> api_calls;
  std::vector<CorrelationRecord> correlations;
  std::vector<OverheadRecord> overheads;
  std::vector<ProductRecord> products;
  int64_t n_dropped = 0;  // records the tracer had no room for
  int64_t n_unknown = 0;  // of kinds nobody asked for
  int64_t n_damaged = 0;  // buffers that could not be read to their end
};

// Bytes of the whole device, other processes included; absent: unknown.
struct DeviceMemory {
  std::optional<int64_t> total;
  std::optional<int64_t> used_before_context, used_after_context, used_now;
  std::optional<int64_t> tracer_bytes;  // what the tracer's own buffers take there
};

// What watching costs the host.
struct ObserverCost {
  int64_t host_bytes = 0;  // buffers held
  int64_t host_ns = 0;     // in its callbacks, its reader and its flushes
  int64_t n_buffers = 0, n_records = 0;
};

// Values of the counters' metrics over the work of one range (see range_name); ranges of
// one name may come several times.
struct RangeValues {
  std::string range;
  std::vector<double> values;  // in the order of DeviceCounters::metrics
};

// Hardware counters, read over several passes of equal work. Not to be used while the tracer records.
class DeviceCounters {
 public:
  virtual ~DeviceCounters() = default;
  virtual std::string_view chip() const = 0;
  virtual const std::vector<std::string>& metrics() const = 0;
  virtual int n_passes() const = 0;
  // Around one pass. `n_ranges`: op calls it may make at most. False with one line in *why.
  virtual bool begin_pass(int64_t n_ranges, std::string* why) = 0;
  virtual bool end_pass(std::string* why) = 0;  // the device must be idle
  virtual bool complete() const = 0;            // all passes are made
  // *n_dropped: ranges there was no room for.
  virtual std::vector<RangeValues> read(int64_t* n_dropped, std::string* why) = 0;
};

class DeviceTracer {
 public:
  virtual ~DeviceTracer() = default;
  virtual std::string_view name() const = 0;  // for people: "CUPTI 13.0.1"
  virtual bool start(std::string* why) = 0;   // records from now on; false with one line in *why
  virtual void stop() = 0;                    // what was recorded can still be collected
  virtual bool recording() const = 0;
  virtual void context_made() = 0;  // by the backend, right after it made its context

  // By the backend around the work of each op call; a range when counters are being read.
  virtual void begin_op(int64_t call, std::string_view op, std::string_view module, std::string_view phase) = 0;
  virtual void end_op() = 0;
  // Inside an op: a library is about to compute `batch` products of m x k and k x n.
  virtual void note_product(int64_t m, int64_t n, int64_t k, int64_t batch) = 0;

  virtual Activity collect() = 0;  // what finished since the last call; the device must be idle
  virtual DeviceMemory memory() = 0;
  virtual ObserverCost cost() const = 0;
  // For work in `dtype` ("bf16", "f16", "f32"). Null with one line in *why. Owned by the tracer.
  virtual DeviceCounters* counters(std::string_view dtype, std::string* why) = 0;
};

// The one name of an op's place, used for counter ranges and for the marks that other tools show.
inline std::string range_name(std::string_view module, std::string_view op, std::string_view phase) {
  std::string name(module.empty() ? std::string_view("(top)") : module);
  return name.append("/").append(op).append("/").append(phase);
}

// In the plugin: a tracer for a device, to be made after the driver answered and before the context exists.
// Null with one line in *why where there is none.
std::unique_ptr<DeviceTracer> make_tracer(int device, std::string* why);

}  // namespace reckon
