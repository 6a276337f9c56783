// The allocator: what it promises of its figures, at any sequence of requests.
#include "runtime/memory/arena.h"

#include <gtest/gtest.h>

#include "runtime/core/error.h"
#include "runtime/core/rng.h"

namespace reckon {
namespace {

struct Log {
  std::vector<Event> events;
  std::function<void(Event&)> sink() {
    return [this](Event& e) { events.push_back(e); };
  }
};

TEST(Arena, RandomProgramsNeverOverlapAndGiveEverythingBack) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Log log;
    Arena arena(make_fake_source(), {}, log.sink());
    const Philox random{seed, 0};
    std::vector<Block> live;
    size_t requested = 0;
    for (uint64_t i = 0; i < 3000; ++i) {
      const auto r = random(i);
      if (live.empty() || r[0] % 5 < 3) {
        const size_t bytes = r[1] % (r[2] % 7 == 0 ? 30'000'000 : 70'000);
        live.push_back(arena.allocate(bytes, {}));
        requested += bytes;
      } else {
        const size_t k = r[1] % live.size();
        requested -= live[k].bytes;
        arena.free(live[k]);
        live.erase(live.begin() + static_cast<long>(k));
      }
      ASSERT_EQ(arena.stats().requested, requested);
      ASSERT_LE(arena.stats().rounded, arena.stats().reserved);
    }
    std::vector<std::pair<std::byte*, std::byte*>> ranges;
    for (const Block& b : live) ranges.emplace_back(b.data, b.data + b.rounded);
    std::sort(ranges.begin(), ranges.end());
    for (size_t k = 1; k < ranges.size(); ++k) ASSERT_LE(ranges[k - 1].second, ranges[k].first);
    for (const Block& b : live) arena.free(b);
    EXPECT_EQ(arena.stats().requested, 0u);
    EXPECT_EQ(arena.stats().rounded, 0u);
    arena.release_free_segments();
    EXPECT_EQ(arena.stats().reserved, 0u) << "free neighbours must have merged into whole segments";
  }
}

TEST(Arena, RealAndFakeSegmentsGiveTheSamePlaces) {
  Log real_log, fake_log;
  Arena real(make_host_source(), {}, real_log.sink()), fake(make_fake_source(), {}, fake_log.sink());
  const Philox random{3, 0};
  std::vector<Block> a, b;
  for (uint64_t i = 0; i < 500; ++i) {
    const size_t bytes = random(i)[0] % 300000;
    a.push_back(real.allocate(bytes, {}));
    b.push_back(fake.allocate(bytes, {}));
    if (random(i)[1] % 3 == 0) {
      const size_t k = random(i)[2] % a.size();
      real.free(a[k]);
      fake.free(b[k]);
      a.erase(a.begin() + static_cast<long>(k));
      b.erase(b.begin() + static_cast<long>(k));
    }
  }
  ASSERT_EQ(real_log.events.size(), fake_log.events.size());
  for (size_t i = 0; i < real_log.events.size(); ++i)
    ASSERT_TRUE(real_log.events[i].same_as(fake_log.events[i])) << i;
}

TEST(Arena, LimitIsOfReservedBytesAndFreeSegmentsAreGivenBackFirst) {
  Log log;
  Arena arena(make_fake_source(), {}, log.sink());
  arena.set_limit(size_t{64} << 20);
  const Block big = arena.allocate(size_t{40} << 20, {});
  EXPECT_THROW((void)arena.allocate(size_t{30} << 20, {}), OutOfMemory);
  arena.free(big);
  const Block next = arena.allocate(size_t{50} << 20, {});  // only fits when the first segment went back
  EXPECT_LE(arena.stats().reserved, size_t{64} << 20);
  arena.free(next);
}

TEST(Arena, ARequestOfNoBytesIsABlockOfItsOwn) {
  Log log;
  Arena arena(make_fake_source(), {}, log.sink());
  const Block a = arena.allocate(0, {}), b = arena.allocate(0, {});
  EXPECT_NE(a.data, b.data);
  EXPECT_EQ(arena.stats().requested, 0u);
  EXPECT_EQ(arena.stats().rounded, 128u);
}

TEST(Arena, AbsurdRequestIsAnErrorNotAWrappedSize) {
  Log log;
  Arena arena(make_fake_source(), {}, log.sink());
  EXPECT_THROW((void)arena.allocate(SIZE_MAX - 5, {}), Error);
}

}  // namespace
}  // namespace reckon
