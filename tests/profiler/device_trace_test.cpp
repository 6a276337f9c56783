// From op calls through the backend's tracer to the books, on a GPU that is made up.
#include "profiler/device_trace.h"

#include <gtest/gtest.h>

#include <sstream>

#include "ops/binary/binary.h"
#include "ops/fill/fill.h"
#include "profiler/device_report.h"
#include "profiler/json.h"
#include "profiler/ledger.h"
#include "profiler/report.h"
#include "runtime/events/scope.h"
#include "tests/profiler/fake_gpu.h"

namespace reckon::testing {
namespace {

using namespace profiler;

struct DeviceTraceTest : ::testing::Test {
  void SetUp() override {
    context() = {};
    auto backend = std::make_unique<FakeGpu>();
    gpu = backend.get();
    device = std::make_unique<Device>(DeviceKind::cuda, DeviceSpec::gpu(), DeviceOptions{}, std::move(backend));
    trace = std::make_unique<DeviceTrace>(*device, gpu->fake);
    device->add_sink(&ledger);
    device->add_sink(trace.get());
  }
  void TearDown() override {
    x = {};
    context() = {};
  }
  void begin() {
    std::string why;
    ASSERT_TRUE(trace->start(&why)) << why;
    x = Tensor::empty(*device, {8, 8}, DType::f32, Category::parameter, "x");
    ops::fill(x, 1);
  }
  // Two additions in a module's forward, one in the loss.
  void step(int64_t i) {
    device->begin_step(i);
    {
      PhaseScope phase(Phase::forward);
      ModuleScope module("block");
      const Tensor y = ops::add(x, x);
      const Tensor z = ops::add(y, x);
      PhaseScope loss(Phase::loss);
      ops::mul(z, z);
    }
    device->end_step();
  }

  FakeGpu* gpu = nullptr;
  std::unique_ptr<Device> device;
  Ledger ledger;
  std::unique_ptr<DeviceTrace> trace;
  Tensor x;
};

TEST_F(DeviceTraceTest, FilesAStepUnderItsOpsModulesAndPhases) {
  begin();
  for (int i = 0; i < 3; ++i) step(i);
  const DeviceBooks books = trace->finish();
  EXPECT_EQ(books.steps_traced, 3);
  EXPECT_EQ(books.steps_that_differ, 0);
  ASSERT_TRUE(books.step);
  EXPECT_EQ(books.step->step, 2);
  ASSERT_EQ(books.step->cells.size(), 2u);
  const DeviceCell& add = books.step->cells[0];
  EXPECT_EQ(name_of(add.op), "add");
  EXPECT_EQ(name_of(add.module), "block");
  EXPECT_EQ(add.phase, Phase::forward);
  EXPECT_EQ(add.calls, 2);
  EXPECT_EQ(add.own_kernels, 2);
  EXPECT_EQ(add.device_ns, 200);
  EXPECT_EQ(books.step->cells[1].phase, Phase::loss);
  EXPECT_TRUE(books.step->unfiled.empty()) << "what ran before the step is not in it";
  EXPECT_GE(gpu->n_waits, 6) << "records are complete only when the device is idle";
  EXPECT_FALSE(gpu->fake.on);
  EXPECT_EQ(books.observer_host_ns, 77);
}

TEST_F(DeviceTraceTest, AKernelThatWasNotSeenIsReported) {
  begin();
  step(0);
  gpu->fake.lose_kernels = true;
  step(1);
  const DeviceBooks books = trace->finish();
  EXPECT_EQ(books.steps_traced, 2);
  EXPECT_EQ(books.steps_that_differ, 1);
  EXPECT_EQ(books.step->calls_that_differ(), 3);
}

TEST_F(DeviceTraceTest, ClosesTheDevicesMemoryAgainstTheArena) {
  begin();
  step(0);
  const int64_t reserved = static_cast<int64_t>(device->arena().stats().reserved);
  gpu->fake.used = 5000 + reserved + 123;
  const DeviceBooks books = trace->finish();
  ASSERT_TRUE(books.closure);
  EXPECT_EQ(*books.closure->unexplained, 123) << "our segments are known by their source, and are no library's";
  EXPECT_FALSE(books.closure->has_unknown_lines);
  int64_t arena = 0;
  for (const ClosureLine& l : books.closure->lines)
    if (l.origin == Origin::counted) arena += *l.bytes;
  EXPECT_EQ(arena, reserved);
}

TEST_F(DeviceTraceTest, CountsStepsBetweenTheFirstAndTheLastOnes) {
  begin();
  step(0);
  EXPECT_EQ(trace->count_steps(1, 3, "bf16"), 2);
  for (int i = 1; i < 4; ++i) {
    step(i);
    EXPECT_EQ(gpu->fake.on, i > 1) << "never traced and counted at once";
  }
  const DeviceBooks books = trace->finish();
  ASSERT_TRUE(books.counters);
  EXPECT_EQ(books.counters->n_passes, 2);
  EXPECT_EQ(books.counters->first_step, 1);
  EXPECT_EQ(books.counters->chip, "FAKE");
  EXPECT_GE(gpu->fake.fake_counters.most_ranges, 3);
  ASSERT_EQ(books.counters->work.size(), 2u);
  EXPECT_EQ(*books.counters->work[0].tensor_bf16, 128);
  EXPECT_EQ(*books.counters->work[0].scalar, 4);
  EXPECT_EQ(books.counters->n_unfiled, 0);
  EXPECT_EQ(books.steps_traced, 2) << "steps 0 and 3";
  EXPECT_EQ(books.step->step, 3);
  EXPECT_EQ(books.step->calls_that_differ(), 0);
}

TEST_F(DeviceTraceTest, CountersThatCannotBeHadAreANoteAndNothingElse) {
  gpu->fake.refuse_counters = "no permission";
  begin();
  EXPECT_EQ(trace->count_steps(1, 100, "bf16"), 0);
  gpu->fake.refuse_counters.clear();
  EXPECT_EQ(trace->count_steps(1, 2, "bf16"), 0) << "two passes and a traced step do not fit";
  gpu->fake.fake_counters.refuse_begin = "taken by another tool";
  EXPECT_EQ(trace->count_steps(1, 100, "bf16"), 2);
  for (int i = 0; i < 3; ++i) step(i);
  const DeviceBooks books = trace->finish();
  EXPECT_FALSE(books.counters);
  EXPECT_EQ(books.steps_traced, 3) << "the step that could not be counted was traced";
  ASSERT_EQ(books.notes.size(), 3u);
  EXPECT_EQ(books.notes[0], "no permission");
  EXPECT_NE(books.notes[1].find("the run needs 4 steps"), std::string::npos) << books.notes[1];
  EXPECT_EQ(books.notes[2], "taken by another tool");
}

TEST_F(DeviceTraceTest, ARunThatEndsAmongThePassesHasNoCounters) {
  begin();
  trace->count_steps(1, 100, "bf16");
  step(0);
  step(1);
  const DeviceBooks books = trace->finish();
  EXPECT_FALSE(books.counters);
  ASSERT_EQ(books.notes.size(), 1u);
  EXPECT_NE(books.notes[0].find("before the counters' last pass"), std::string::npos);
}

TEST_F(DeviceTraceTest, ATracerThatDoesNotStartLeavesTheRunAlone) {
  gpu->fake.refuse_start = "somebody else is there";
  std::string why;
  EXPECT_FALSE(trace->start(&why));
  EXPECT_EQ(why, "somebody else is there");
  x = Tensor::empty(*device, {8, 8}, DType::f32, Category::parameter, "x");
  step(0);
  EXPECT_EQ(gpu->n_waits, 0);
  const DeviceBooks books = trace->finish();
  EXPECT_FALSE(books.step);
  ASSERT_TRUE(books.closure);
  EXPECT_TRUE(books.closure->has_unknown_lines) << "nobody listened to the driver";
}

TEST_F(DeviceTraceTest, IsInTheReportAndInTheRunFile) {
  begin();
  step(0);
  trace->count_steps(1, 3, "bf16");
  for (int i = 1; i < 4; ++i) step(i);
  RunRecord run;
  run.device = trace->finish();
  ledger.close();
  run.books = ledger.books();
  const RunRecord back = run_from_json(to_json(run), "run.json");
  EXPECT_EQ(back.device, run.device);
  std::ostringstream out;
  write_report(out, back);
  for (const char* word :
       {"Seen on the device (a made-up tracer)", "planned = made [c]", "own kernels [m]", "device time [m]",
        "Device memory", "unexplained", "hardware [m]", "Observer:", "every launch announced was seen"})
    EXPECT_NE(out.str().find(word), std::string::npos) << word << '\n' << out.str();
  EXPECT_EQ(out.str().find("DIFFERS"), std::string::npos) << out.str();
}

}  // namespace
}  // namespace reckon::testing
