// The closure of a device's memory, with made-up figures: it always adds up, and
// nothing unknown is taken for zero.
#include "profiler/device_closure.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <sstream>

#include "profiler/json.h"

namespace reckon::testing {
namespace {

using namespace profiler;

constexpr int64_t kMiB = int64_t{1} << 20;

ClosureFigures figures() {
  ClosureFigures f;
  f.used_before_context = 300 * kMiB;
  f.used_after_context = 800 * kMiB;
  f.requested = 1000 * kMiB - 100;
  f.rounded = 1000 * kMiB;
  f.reserved = 1100 * kMiB;
  f.grants = std::vector<Grant>{{"libreckon_cuda.so", 1100 * kMiB, 40},
                                {"libcublasLt.so.13", 32 * kMiB, 1},
                                {"libcublas.so.13", 8 * kMiB, 2}};
  f.own_source = "libreckon_cuda.so";
  f.tracer_bytes = 0;
  f.used_now = 1942 * kMiB;
  return f;
}

const ClosureLine& line(const DeviceClosure& c, std::string_view name) {
  for (const ClosureLine& l : c.lines)
    if (l.name == name) return l;
  throw std::runtime_error("no line " + std::string(name));
}

std::string text_of(const DeviceClosure& c) {
  std::ostringstream out;
  write_closure(out, c);
  return out.str();
}

int64_t known(const DeviceClosure& c) {
  int64_t sum = 0;
  for (const ClosureLine& l : c.lines) sum += l.bytes.value_or(0);
  return sum;
}

TEST(DeviceClosure, LinesAndTheRemainderAddUpToWhatTheDeviceUses) {
  const DeviceClosure c = close_device(figures());
  EXPECT_EQ(*line(c, "live tensors and workspaces").bytes, 1000 * kMiB - 100);
  EXPECT_EQ(line(c, "live tensors and workspaces").origin, Origin::counted);
  EXPECT_EQ(*line(c, "rounding").bytes, 100);
  EXPECT_EQ(*line(c, "free inside segments").bytes, 100 * kMiB);
  EXPECT_EQ(*line(c, "allocated by libcublasLt.so.13").bytes, 32 * kMiB);
  EXPECT_EQ(line(c, "allocated by libcublasLt.so.13").origin, Origin::measured);
  EXPECT_EQ(*line(c, "allocated by libcublas.so.13").bytes, 8 * kMiB);
  EXPECT_EQ(*line(c, "context and modules").bytes, 500 * kMiB);
  EXPECT_EQ(*line(c, "in use before").bytes, 300 * kMiB);
  EXPECT_EQ(*line(c, "the tracer's own buffers").bytes, 0) << "known to be none is not unknown";
  EXPECT_EQ(*c.unexplained, 2 * kMiB);
  EXPECT_FALSE(c.has_unknown_lines);
  EXPECT_EQ(known(c) + *c.unexplained, *c.used);
  const std::string text = text_of(c);
  for (const char* mark : {"[m]", "[c]", "[d]"}) EXPECT_NE(text.find(mark), std::string::npos) << text;
  EXPECT_NE(text.find("2,036,334,592"), std::string::npos) << text;  // used
  EXPECT_EQ(text.find("unknown"), std::string::npos) << text;
}

TEST(DeviceClosure, ANegativeRemainderIsShownAsSuch) {
  ClosureFigures f = figures();
  f.used_now = 1900 * kMiB;
  const DeviceClosure c = close_device(f);
  EXPECT_EQ(*c.unexplained, -40 * kMiB);
  const std::string text = text_of(c);
  EXPECT_NE(text.find("-41,943,040"), std::string::npos) << text;
  EXPECT_NE(text.find("count the same bytes"), std::string::npos) << text;
}

TEST(DeviceClosure, WhatIsMissingIsUnknownAndNeverZero) {
  const std::vector<std::pair<std::string, std::function<void(ClosureFigures&)>>> cases{
      {"context and modules", [](ClosureFigures& f) { f.used_after_context.reset(); }},
      {"in use before", [](ClosureFigures& f) { f.used_before_context.reset(); }},
      {"library allocations", [](ClosureFigures& f) { f.grants.reset(); }},
      {"the tracer's own buffers", [](ClosureFigures& f) { f.tracer_bytes.reset(); }},
      {"live tensors and workspaces", [](ClosureFigures& f) { f.requested.reset(); }},
      {"rounding", [](ClosureFigures& f) { f.requested.reset(); }},
      {"free inside segments", [](ClosureFigures& f) { f.reserved.reset(); }}};
  for (const auto& [name, remove] : cases) {
    ClosureFigures f = figures();
    remove(f);
    const DeviceClosure c = close_device(f);
    EXPECT_FALSE(line(c, name).bytes) << name;
    EXPECT_TRUE(c.has_unknown_lines) << name;
    ASSERT_TRUE(c.unexplained) << name;
    EXPECT_EQ(known(c) + *c.unexplained, *c.used) << name;
    const std::string text = text_of(c);
    EXPECT_NE(text.find("unknown"), std::string::npos) << text;
    EXPECT_NE(text.find("holds the unknown lines too"), std::string::npos) << text;
  }
}

TEST(DeviceClosure, WithoutTheDevicesOwnFigureNothingIsExplained) {
  ClosureFigures f = figures();
  f.used_now.reset();
  const DeviceClosure c = close_device(f);
  EXPECT_FALSE(c.unexplained);
  EXPECT_NE(text_of(c).find("the device's own figure is missing"), std::string::npos);
  const DeviceClosure none = close_device({});
  for (const ClosureLine& l : none.lines) EXPECT_FALSE(l.bytes) << l.name;
  EXPECT_EQ(text_of(none).find(" 0 "), std::string::npos) << text_of(none);
}

TEST(DeviceClosure, LibrariesAreOneLineWhereOurSegmentsCannotBeToldApart) {
  ClosureFigures f = figures();
  for (Grant& g : *f.grants) g.source.clear();
  for (const char* own : {"libreckon_cuda.so", ""}) {
    f.own_source = own;
    const DeviceClosure c = close_device(f);
    EXPECT_EQ(*line(c, "library allocations").bytes, 40 * kMiB);
    EXPECT_EQ(line(c, "library allocations").origin, Origin::derived);
    EXPECT_EQ(*c.unexplained, 2 * kMiB);
  }
  // Also when our source is there but does not hold what the arena holds: some segments went by another name.
  f = figures();
  (*f.grants)[0].bytes -= 20 * kMiB;
  f.grants->push_back({"", 20 * kMiB, 1});
  EXPECT_EQ(*line(close_device(f), "library allocations").bytes, 40 * kMiB);
  // A tracer that came late has not heard of all segments: nothing can be said about libraries.
  f.grants = std::vector<Grant>{{"", 20 * kMiB, 1}};
  EXPECT_FALSE(line(close_device(f), "library allocations").bytes);
  EXPECT_TRUE(close_device(f).has_unknown_lines);
}

TEST(DeviceClosure, AddsUpForAnyFigures) {
  std::mt19937_64 random(11);
  const auto some = [&]() -> std::optional<int64_t> {
    if (random() % 4 == 0) return std::nullopt;
    return static_cast<int64_t>(random() % (int64_t{1} << 40));
  };
  for (int i = 0; i < 2000; ++i) {
    ClosureFigures f{some(), some(), some(), some(), some(), some(), std::nullopt, "a", some()};
    if (random() % 3)
      f.grants = std::vector<Grant>{{"a", static_cast<int64_t>(random() % 100), 1},
                                    {"b", static_cast<int64_t>(random() % 100), 1}};
    const DeviceClosure c = close_device(f);
    ASSERT_EQ(c.used.has_value(), c.unexplained.has_value());
    if (c.used) {
      ASSERT_EQ(known(c) + *c.unexplained, *c.used);
    }
    // As a file, and back.
    RunRecord run;
    run.device = DeviceBooks{.tracer = "t", .closure = c};
    ASSERT_EQ(run_from_json(to_json(run), "run.json").device, run.device);
  }
}

}  // namespace
}  // namespace reckon::testing
