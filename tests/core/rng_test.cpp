#include "runtime/core/rng.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace reckon {
namespace {

// Known answers of the Random123 publication; evaluated by the compiler as well.
static_assert(philox4x32_10({0, 0, 0, 0}, {0, 0}) ==
              PhiloxBlock{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u});

TEST(Rng, PhiloxGivesThePublishedKnownAnswers) {
  EXPECT_EQ(philox4x32_10({0, 0, 0, 0}, {0, 0}),
            (PhiloxBlock{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
  const uint32_t f = 0xffffffffu;
  EXPECT_EQ(philox4x32_10({f, f, f, f}, {f, f}),
            (PhiloxBlock{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}));
  EXPECT_EQ(philox4x32_10({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}),
            (PhiloxBlock{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}));
}

TEST(Rng, ValueFormPutsCounterLowStreamHighAndSeedInTheKey) {
  const Philox pi{.seed = 0x299f31d0a4093822ull, .stream = 0x0370734413198a2eull};
  EXPECT_EQ(pi(0x85a308d3243f6a88ull), (PhiloxBlock{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}));
}

TEST(Rng, SeedStreamAndCounterEachChangeTheBlock) {
  const auto base = Philox{1, 2}(3);
  EXPECT_NE(base, (Philox{2, 2}(3)));
  EXPECT_NE(base, (Philox{1, 3}(3)));
  EXPECT_NE(base, (Philox{1, 2}(4)));
  EXPECT_NE(base, (Philox{1, 2}(3 + (1ull << 32))));
  EXPECT_EQ(base, (Philox{1, 2}(3)));
}

TEST(Rng, UniformNeverReachesZeroOrOneAndIsSymmetric) {
  EXPECT_EQ(uniform_open(0u), 0x1p-24f);
  EXPECT_EQ(uniform_open(0xffffffffu), 1.0f - 0x1p-24f);
  EXPECT_LT(uniform_open(0xffffffffu), 1.0f);
  EXPECT_EQ(uniform_open(0x12345678u) + uniform_open(~0x12345678u), 1.0f);
}

TEST(Rng, UniformMomentsMatchTheUniformDistribution) {
  const Philox rng{7, 0};
  double sum = 0, square = 0;
  constexpr int kBlocks = 50000;
  for (int i = 0; i < kBlocks; ++i)
    for (float u : uniform_open(rng(static_cast<uint64_t>(i)))) sum += u, square += static_cast<double>(u) * u;
  const double n = 4.0 * kBlocks;
  EXPECT_NEAR(sum / n, 0.5, 5 * std::sqrt(1.0 / 12 / n));
  EXPECT_NEAR(square / n - (sum / n) * (sum / n), 1.0 / 12, 2e-3);
}

TEST(Rng, NormalMomentsAndTailsMatchTheNormalDistribution) {
  const Philox rng{11, 5};
  double m1 = 0, m2 = 0, m3 = 0, m4 = 0;
  int beyond_two = 0;
  constexpr int kBlocks = 50000;
  for (int i = 0; i < kBlocks; ++i) {
    for (float z : normal_four(rng(static_cast<uint64_t>(i)))) {
      ASSERT_TRUE(std::isfinite(z));
      const double d = z;
      m1 += d, m2 += d * d, m3 += d * d * d, m4 += d * d * d * d;
      beyond_two += std::abs(z) > 2.0f;
    }
  }
  const double n = 4.0 * kBlocks;
  EXPECT_NEAR(m1 / n, 0.0, 5 / std::sqrt(n));
  EXPECT_NEAR(m2 / n, 1.0, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(m3 / n, 0.0, 5 * std::sqrt(15 / n));
  EXPECT_NEAR(m4 / n, 3.0, 5 * std::sqrt(96 / n));
  EXPECT_NEAR(beyond_two / n, 0.0455, 0.003);
}

TEST(Rng, NormalIsFiniteAtTheExtremesOfTheUniform) {
  const auto widest = normal_pair(uniform_open(0u), 1.0f - 0x1p-24f);
  EXPECT_NEAR(widest[0], 5.768, 1e-3);
  const auto narrowest = normal_pair(uniform_open(0xffffffffu), 0.5f);
  EXPECT_LT(std::abs(narrowest[0]), 1e-3f);
}

TEST(Rng, BoundedIntegersAreTheUpperHalfOfTheProduct) {
  __extension__ using Wide = unsigned __int128;
  const Philox rng{3, 9};
  for (uint64_t i = 0; i < 2000; ++i) {
    const auto b = rng(i);
    const uint64_t bits = (static_cast<uint64_t>(b[1]) << 32) | b[0];
    const uint64_t n = ((static_cast<uint64_t>(b[3]) << 32) | b[2]) >> (i % 64);
    EXPECT_EQ(uniform_below(bits, n), static_cast<uint64_t>((static_cast<Wide>(bits) * n) >> 64));
  }
  EXPECT_EQ(uniform_below(~0ull, ~0ull), ~0ull - 1);
  EXPECT_EQ(uniform_below(~0ull, 5), 4u);
  EXPECT_EQ(uniform_below(0, 5), 0u);
}

TEST(Rng, BoundedIntegersCoverTheRangeEvenly) {
  const Philox rng{21, 0};
  std::vector<int> counts(10, 0);
  for (uint64_t i = 0; i < 100000; ++i) ++counts[uniform_below(rng(i), 10)];
  for (int c : counts) EXPECT_NEAR(c, 10000, 5 * std::sqrt(9000.0));
}

}  // namespace
}  // namespace reckon
