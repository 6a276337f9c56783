#include "models/data/prefetcher.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>

namespace reckon::data {
namespace {

using namespace std::chrono_literals;

TEST(Prefetcher, DeliversStepsInOrderWhateverTheTiming) {
  Prefetcher<uint64_t> batches(
      [](uint64_t step) {
        if (step % 7 == 0) std::this_thread::sleep_for(1ms);
        return step * step;
      },
      5);
  for (uint64_t step = 5; step < 200; ++step) {
    if (step % 11 == 0) std::this_thread::sleep_for(1ms);
    ASSERT_EQ(batches.next(), step * step);
  }
}

TEST(Prefetcher, WorksAheadUpToItsDepthAndNoFurther) {
  std::atomic<int> produced{0};
  Prefetcher<int> batches([&](uint64_t) { return ++produced; }, 0, 3);
  for (int wait = 0; wait < 2000 && produced < 3; ++wait) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(produced, 3);
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(produced, 3);
  EXPECT_EQ(batches.next(), 1);
  for (int wait = 0; wait < 2000 && produced < 4; ++wait) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(produced, 4);
}

TEST(Prefetcher, RethrowsAtTheStepThatFailedAndAfterwards) {
  Prefetcher<int> batches([](uint64_t step) -> int {
    if (step == 2) raise_error("step 2 is broken");
    return static_cast<int>(step);
  });
  EXPECT_EQ(batches.next(), 0);
  EXPECT_EQ(batches.next(), 1);
  for (int again = 0; again < 2; ++again) {
    try {
      batches.next();
      FAIL() << "expected an Error";
    } catch (const Error& e) {
      EXPECT_STREQ(e.what(), "step 2 is broken");
    }
  }
}

TEST(Prefetcher, StopsCleanlyWhenDroppedWithAFullQueue) {
  for (int i = 0; i < 200; ++i) {
    const auto shared = std::make_shared<int>(i);
    {
      Prefetcher<std::shared_ptr<int>> batches([shared](uint64_t) { return shared; });
      if (i % 2) {
        EXPECT_EQ(*batches.next(), i);
      }
    }
    EXPECT_EQ(shared.use_count(), 1) << "a batch or the producer outlived the prefetcher";
  }
}

TEST(Prefetcher, MovesBatchesThatCannotBeCopied) {
  Prefetcher<std::unique_ptr<int>> batches(
      [](uint64_t step) { return std::make_unique<int>(static_cast<int>(step)); });
  EXPECT_EQ(*batches.next(), 0);
  EXPECT_EQ(*batches.next(), 1);
}

TEST(Prefetcher, RefusesDepthZeroAndNoProducer) {
  EXPECT_THROW(Prefetcher<int>([](uint64_t) { return 1; }, 0, 0), Error);
  EXPECT_THROW(Prefetcher<int>(nullptr), Error);
}

}  // namespace
}  // namespace reckon::data
