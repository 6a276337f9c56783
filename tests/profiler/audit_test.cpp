// A dry run against the real run, and books that were tampered with.
#include "profiler/audit.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "profiler/trace.h"
#include "tests/profiler/network.h"

namespace reckon::testing {
namespace {

using namespace profiler;
using autograd::CheckpointPolicy;

TEST(Audit, TheDryRunPredictsEveryEventOfTheRun) {
  for (CheckpointPolicy p : {CheckpointPolicy::none, CheckpointPolicy::selective, CheckpointPolicy::block}) {
    const TrainedNetwork dry = train_network({.kind = DeviceKind::meta, .policy = p});
    const TrainedNetwork real = train_network({.kind = DeviceKind::cpu, .policy = p});
    const AuditResult r = audit(dry.events, real.events);
    EXPECT_TRUE(r.equal) << r.text;
    EXPECT_EQ(r.n_events, real.events.size());
    EXPECT_NE(r.text.find("equal: "), std::string::npos);
  }
}

TEST(Audit, NamesTheFirstDifferenceWithItsSurroundings) {
  const TrainedNetwork run = train_network({.steps = 1});
  std::vector<Event> changed = run.events;
  size_t at = 40;
  while (changed[at].kind != EventKind::allocated) ++at;
  changed[at].bytes += 64;
  changed[at + 2].step = 99;  // a later difference must not be the one reported
  const AuditResult r = audit(run.events, changed);
  EXPECT_FALSE(r.equal);
  EXPECT_EQ(r.first_difference, at);
  EXPECT_EQ(r.n_events, at);
  EXPECT_NE(r.text.find(
                fmt::format("bytes '{}' predicted, '{}' executed", changed[at].bytes - 64, changed[at].bytes)),
            std::string::npos)
      << r.text;
  for (size_t k : {at - 3, at - 2, at - 1, at + 1, at + 2, at + 3})
    EXPECT_NE(r.text.find(std::to_string(k) + ": "), std::string::npos) << k << "\n" << r.text;
}

TEST(Audit, ARunThatEndsEarlyIsADifference) {
  const TrainedNetwork run = train_network({.steps = 1});
  const std::span<const Event> all = run.events;
  const AuditResult r = audit(all, all.first(all.size() - 5));
  EXPECT_FALSE(r.equal);
  EXPECT_EQ(r.first_difference, all.size() - 5);
  EXPECT_NE(r.text.find("ended after"), std::string::npos);
  EXPECT_TRUE(audit({}, {}).equal);
}

TEST(Audit, TimeIsNotPartOfIt) {
  const TrainedNetwork run = train_network({.steps = 1});
  std::vector<Event> later = run.events;
  for (Event& e : later) e.t_ns += 12345;
  EXPECT_TRUE(audit(run.events, later).equal);
}

struct Tampering : ::testing::Test {
  void SetUp() override {
    events = train_network({.policy = CheckpointPolicy::selective, .steps = 2}).events;
    const BooksCheck check = check_books(events);
    ASSERT_TRUE(check.closed) << check.text;
    EXPECT_EQ(check.n_events, events.size());
  }
  size_t find(EventKind kind, size_t from = 60) const {
    while (events.at(from).kind != kind) ++from;
    return from;
  }
  void expect_violation_at(size_t at, std::string_view words) const {
    const BooksCheck check = check_books(events);
    EXPECT_FALSE(check.closed);
    EXPECT_EQ(check.at, at) << check.text;
    EXPECT_NE(check.text.find(words), std::string::npos) << check.text;
  }
  std::vector<Event> events;
};

TEST_F(Tampering, AFreeOfOtherSizeIsFound) {
  const size_t at = find(EventKind::freed);
  events[at].bytes += 1;
  expect_violation_at(at, "does not match its allocation");
}

TEST_F(Tampering, AFreeThatHappensTwiceIsFound) {
  const size_t at = find(EventKind::freed);
  events.insert(events.begin() + static_cast<ptrdiff_t>(at) + 1, events[at]);
  expect_violation_at(at + 1, "is not live");
}

TEST_F(Tampering, AnOverlapIsFound) {
  const size_t first = find(EventKind::allocated);
  const size_t second = find(EventKind::allocated, first + 1);
  events[second].offset = events[first].offset;
  events[second].segment = events[first].segment;
  expect_violation_at(second, "overlaps");
}

TEST_F(Tampering, ABlockBeyondItsSegmentIsFound) {
  const size_t at = find(EventKind::allocated);
  events[at].offset = int64_t{1} << 40;
  expect_violation_at(at, "before that");
}

TEST_F(Tampering, RoundingBelowTheRequestIsFound) {
  const size_t at = find(EventKind::allocated);
  events[at].rounded = events[at].bytes - 1;
  expect_violation_at(at, "below the requested");
}

TEST_F(Tampering, AWrongCategoryIsFound) {
  const size_t at = find(EventKind::saved);
  events[at].category_before = Category::workspace;
  expect_violation_at(at, "says it was workspace");
}

TEST_F(Tampering, ALostUnsaveIsFoundWhenTheBlockIsFreed) {
  const size_t at = find(EventKind::unsaved);
  events.erase(events.begin() + static_cast<ptrdiff_t>(at));
  const BooksCheck check = check_books(events);
  EXPECT_FALSE(check.closed);
  EXPECT_GE(check.at, at);
}

TEST_F(Tampering, AnOpThatEndsTwiceIsFound) {
  const size_t at = find(EventKind::op_end);
  events.insert(events.begin() + static_cast<ptrdiff_t>(at) + 1, events[at]);
  expect_violation_at(at + 1, "not open");
}

TEST_F(Tampering, ALogThatStartsLateIsFound) {
  events.erase(events.begin(), events.begin() + 60);
  EXPECT_FALSE(check_books(events).closed);
}

TEST(Trace, HoldsEverySliceOnceAndThePeakOfTheCounters) {
  const TrainedNetwork run = train_network({.kind = DeviceKind::cpu, .policy = CheckpointPolicy::block});
  const auto j = nlohmann::json::parse(trace_json(run.events));
  int64_t slices = 0, steps = 0, peak = 0, ops = 0;
  std::map<int, double> end;
  for (const auto& e : j.at("traceEvents")) {
    if (e.at("ph") == "X") {
      (e.at("cat") == "step" ? steps : slices) += 1;
      EXPECT_TRUE(e.at("args").is_object());
      // Slices of one track do not overlap: viewers drop those that do.
      const int track = e.at("tid");
      EXPECT_GE(e.at("ts").get<double>() + 1e-6, end[track]);
      end[track] = e.at("ts").get<double>() + e.at("dur").get<double>();
    } else if (e.at("ph") == "C" && e.at("name") == "live bytes") {
      int64_t sum = 0;
      for (const auto& [name, bytes] : e.at("args").items()) sum += bytes.get<int64_t>();
      peak = std::max(peak, sum);
    }
  }
  for (const Event& e : run.events) ops += e.kind == EventKind::op_end;
  EXPECT_EQ(slices, ops);
  EXPECT_EQ(steps, 3);
  EXPECT_EQ(peak, run.at_end.peak_requested);
}

}  // namespace
}  // namespace reckon::testing
