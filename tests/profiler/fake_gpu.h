// A device of kind cuda that computes nothing, and a tracer that sees what the test tells it to: for the tests
// of what the profiler makes of a tracer.
#pragma once

#include <functional>
#include <memory>

#include "ops/kernel/kernel_args.h"
#include "runtime/core/error.h"
#include "runtime/device.h"

namespace reckon::testing {

struct FakeCounters : DeviceCounters {
  std::vector<std::string> names{"sm__ops_path_tensor_src_bf16_dst_fp32.sum",
                                 "smsp__sass_thread_inst_executed_op_ffma_pred_on.sum"};
  std::vector<RangeValues> ranges;
  int passes = 2, made = 0;
  int64_t most_ranges = 0;
  std::string refuse_begin;
  bool open = false;

  std::string_view chip() const override { return "FAKE"; }
  const std::vector<std::string>& metrics() const override { return names; }
  int n_passes() const override { return passes; }
  bool begin_pass(int64_t n_ranges, std::string* why) override {
    most_ranges = n_ranges;
    *why = refuse_begin;
    if (!refuse_begin.empty()) return false;
    ranges.clear();
    return open = true;
  }
  bool end_pass(std::string*) override {
    open = false;
    ++made;
    return true;
  }
  bool complete() const override { return made == passes; }
  std::vector<RangeValues> read(int64_t* n_dropped, std::string*) override {
    *n_dropped = 0;
    return ranges;
  }
};

struct FakeTracer : DeviceTracer {
  Activity pending;
  FakeCounters fake_counters;
  std::string refuse_start, refuse_counters;
  bool on = false, lose_kernels = false;
  int64_t call = 0;
  uint32_t correlation = 0;
  int64_t clock = 1;

  // One launch inside the current op.
  void launch() {
    if (fake_counters.open) return;
    if (!on || lose_kernels) return;
    if (pending.names.size() == 1) pending.names.push_back("_ZN6reckon3ops3gpu4fakeEv");
    pending.correlations.push_back({++correlation, call});
    pending.kernels.push_back(
        {.correlation = correlation, .name = 1, .start_ns = clock, .end_ns = clock + 100});
    clock += 100;
  }
  // The driver granted a segment.
  void grant(uint64_t address, int64_t bytes) {
    if (!on) return;
    if (pending.names.size() == 1) pending.names.push_back("_ZN6reckon3ops3gpu4fakeEv");
    pending.names.push_back("/some/where/libreckon_cuda.so");
    pending.memory.push_back({.kind = DriverMemory::device,
                              .source = static_cast<int32_t>(pending.names.size() - 1),
                              .address = address,
                              .bytes = bytes,
                              .t_ns = clock});
  }

  std::string_view name() const override { return "a made-up tracer"; }
  bool start(std::string* why) override {
    *why = refuse_start;
    return on = refuse_start.empty();
  }
  void stop() override { on = false; }
  bool recording() const override { return on; }
  void context_made() override {}
  void begin_op(int64_t c, std::string_view op, std::string_view module, std::string_view phase) override {
    call = c;
    if (fake_counters.open)
      fake_counters.ranges.push_back(
          {std::to_string(fake_counters.ranges.size() + 1) + "/" + range_name(module, op, phase), {64, 1}});
  }
  void end_op() override { call = 0; }
  void note_product(int64_t m, int64_t n, int64_t k, int64_t batch) override {
    pending.products.push_back({call, m, n, k, batch});
  }
  Activity collect() override { return std::exchange(pending, {}); }
  DeviceMemory memory() override {
    return {.total = 1 << 30,
            .used_before_context = 1000,
            .used_after_context = 5000,
            .used_now = used,
            .tracer_bytes = 0};
  }
  ObserverCost cost() const override { return {.host_bytes = 4 << 20, .host_ns = 77}; }
  DeviceCounters* counters(std::string_view, std::string* why) override {
    *why = refuse_counters;
    return refuse_counters.empty() ? &fake_counters : nullptr;
  }
  std::optional<int64_t> used = 0;
};

class FakeGpu : public Backend {
 public:
  FakeTracer fake;

  std::string_view name() const override { return "a made-up GPU"; }
  DeviceSpec spec() const override { return DeviceSpec::gpu(); }
  std::unique_ptr<MemorySource> make_source() override { return std::make_unique<Source>(*this); }
  // Announces whatever the plan holds.
  DeviceKernel kernel(std::string_view) const override {
    return [](ops::KernelArgs& args) {
      for (int i = 0;; ++i) {
        try {
          args.launch(i);
        } catch (const Error&) {
          return;
        }
        static_cast<FakeTracer*>(args.context)->launch();
      }
    };
  }
  void copy_from_host(std::byte*, const void*, size_t) override {}
  void copy_to_host(void* to, const std::byte*, size_t bytes) override {
    std::fill_n(static_cast<std::byte*>(to), bytes, std::byte{0});
  }
  void synchronize() override { ++n_waits; }
  void* context() override { return &fake; }
  void begin_op(int64_t call, std::string_view op, std::string_view module, std::string_view phase) override {
    fake.begin_op(call, op, module, phase);
  }
  void end_op() override { fake.end_op(); }
  DeviceTracer* tracer(std::string*) override { return &fake; }
  int n_waits = 0;

 private:
  struct Source : MemorySource {
    explicit Source(FakeGpu& gpu) : gpu(gpu) {}
    std::byte* acquire(size_t bytes) override {
      std::byte* p = inner->acquire(bytes);
      gpu.fake.grant(reinterpret_cast<uint64_t>(p), static_cast<int64_t>(bytes));
      return p;
    }
    void release(std::byte* base, size_t bytes) override { inner->release(base, bytes); }
    bool readable_by_host() const override { return false; }
    long long resident_bytes(const std::byte*, size_t) const override { return -1; }
    FakeGpu& gpu;
    std::unique_ptr<MemorySource> inner = make_fake_source();
  };
};

}  // namespace reckon::testing
