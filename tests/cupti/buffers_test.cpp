// The buffers CUPTI writes to and the thread that reads them, with this test in CUPTI's place.
#include "gpu/cupti/activity_buffers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "gpu/marks.h"

namespace reckon::testing {
namespace {

using profiler::cupti::ActivityBuffers;

// Writes `n` correlations, numbered from `first`, as CUPTI would.
void fill_one(int64_t first, int n) {
  uint8_t* buffer = nullptr;
  size_t size = 0;
  ActivityBuffers::instance().request(&buffer, &size);
  ASSERT_TRUE(buffer);
  ASSERT_EQ(size, ActivityBuffers::kBytes);
  ASSERT_EQ(reinterpret_cast<uintptr_t>(buffer) % 8, 0u);
  for (int i = 0; i < n; ++i) {
    CUpti_ActivityExternalCorrelation c{};
    c.kind = CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION;
    c.externalKind = CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0;
    c.externalId = static_cast<uint64_t>(first + i);
    c.correlationId = static_cast<uint32_t>(first + i);
    std::memcpy(buffer + static_cast<size_t>(i) * sizeof(c), &c, sizeof(c));
  }
  ActivityBuffers::instance().complete(nullptr, 0, buffer,
                                       static_cast<size_t>(n) * sizeof(CUpti_ActivityExternalCorrelation));
}

TEST(CuptiBuffers, HandOutReadAndReuse) {
  std::string why;
  const profiler::cupti::Library* library = profiler::cupti::open_library(&why);
  if (!library) GTEST_SKIP() << "NOT TESTED: " << why;
  ActivityBuffers& buffers = ActivityBuffers::instance();
  ASSERT_EQ(buffers.attach(*library), CUPTI_SUCCESS);
  ASSERT_EQ(buffers.attach(*library), CUPTI_SUCCESS) << "once is enough";
  EXPECT_TRUE(buffers.take().correlations.empty());
  for (int round = 0; round < 3; ++round) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([t] {
        for (int i = 0; i < 20; ++i) fill_one(1000 * (20 * t + i), 1000);
      });
    for (std::thread& t : threads) t.join();
    const Activity a = buffers.take();
    ASSERT_EQ(a.correlations.size(), 80'000u) << "everything that was complete before is in";
    std::vector<bool> seen(80'000);
    for (const CorrelationRecord& c : a.correlations) seen[static_cast<size_t>(c.call)] = true;
    EXPECT_EQ(std::count(seen.begin(), seen.end(), true), 80'000);
    EXPECT_EQ(a.n_dropped + a.n_damaged, 0);
  }
  EXPECT_EQ(buffers.n_records(), 240'000);
  EXPECT_LE(buffers.n_buffers(), 80) << "buffers are used again";
  EXPECT_EQ(buffers.host_bytes(), buffers.n_buffers() * static_cast<int64_t>(ActivityBuffers::kBytes))
      << "taken records are not held";
  EXPECT_GT(buffers.host_ns(), 0);
  buffers.complete(nullptr, 0, nullptr, 0);
  EXPECT_TRUE(buffers.take().correlations.empty());
}

TEST(Nvtx, MarksCostNothingWhereNobodyListens) {
  cuda::Marks marks;
  marks.begin("linear", "layers.0.fc", "forward");
  marks.end();
  EXPECT_EQ(range_name("layers.0.fc", "linear", "forward"), "layers.0.fc/linear/forward");
  EXPECT_EQ(range_name("", "sum", "loss"), "(top)/sum/loss");
}

}  // namespace
}  // namespace reckon::testing
