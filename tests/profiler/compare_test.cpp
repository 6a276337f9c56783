// Two runs side by side: every breakdown sums, and a toggle shows its effect.
#include "profiler/compare.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/profiler/network.h"

namespace reckon::testing {
namespace {

using namespace profiler;
using autograd::CheckpointPolicy;

void expect_sums(const Comparison& c) {
  for (const Breakdown& b : c.breakdowns) {
    int64_t sum_a = 0, sum_b = 0, difference = 0, before = INT64_MAX;
    for (const Delta& d : b.rows) {
      sum_a += d.a, sum_b += d.b, difference += d.difference();
      EXPECT_LE(std::abs(d.difference()), before) << "largest change first";
      before = std::abs(d.difference());
    }
    EXPECT_EQ(sum_a, b.total.a);
    EXPECT_EQ(sum_b, b.total.b);
    EXPECT_EQ(difference, b.total.difference());
  }
}

TEST(Compare, EveryBreakdownSumsToItsTotal) {
  const CheckpointPolicy policies[] = {CheckpointPolicy::none, CheckpointPolicy::selective,
                                       CheckpointPolicy::block};
  for (CheckpointPolicy p : policies)
    for (CheckpointPolicy q : policies)
      for (int64_t blocks : {2, 5}) {
        const RunRecord a = train_network({.policy = p, .blocks = 3}).record;
        const RunRecord b = train_network({.policy = q, .precision = DType::bf16, .blocks = blocks}).record;
        const Comparison c = compare(a, b);
        expect_sums(c);
        EXPECT_EQ(c.of("peak_by_op").total.a, a.books.highest->peak_bytes);
        EXPECT_EQ(c.of("peak_by_category").total.b, b.books.highest->peak_bytes);
        EXPECT_EQ(c.of("saved_by_op").total.b, b.books.highest->saved_bytes);
        EXPECT_EQ(c.of("launches_by_op").total.a, a.books.last->n_launches());
      }
}

TEST(Compare, ARunEqualsItself) {
  const RunRecord a = train_network({.kind = DeviceKind::cpu}).record;
  const Comparison c = compare(a, a);
  EXPECT_TRUE(c.config.empty());
  for (const Breakdown& b : c.breakdowns) EXPECT_EQ(b.total.difference(), 0);
  EXPECT_TRUE(c.first_loss.bitwise_equal());
  EXPECT_TRUE(c.last_loss.bitwise_equal());
  EXPECT_EQ(c.n_losses_equal, 3);
}

TEST(Compare, CheckpointingNamesTheSettingTheSavedBytesAndTheRecompute) {
  const RunRecord a =
      train_network({.kind = DeviceKind::cpu, .policy = CheckpointPolicy::none, .batch = 64}).record;
  const RunRecord b =
      train_network({.kind = DeviceKind::cpu, .policy = CheckpointPolicy::block, .batch = 64}).record;
  Comparison c = compare(a, b);
  ASSERT_EQ(c.config.size(), 1u);
  EXPECT_EQ(c.config[0].key, "checkpoint");
  EXPECT_EQ(c.config[0].b, "block");
  EXPECT_LT(c.of("saved_by_op").total.difference(), 0);
  EXPECT_LT(c.of("peak_by_op").total.difference(), 0);
  EXPECT_EQ(c.recompute_flops.a, 0);
  EXPECT_GT(c.recompute_flops.b, 0);
  EXPECT_EQ(c.of("flops_by_phase").total.difference(), c.recompute_flops.b)
      << "nothing but recompute was added";
  EXPECT_TRUE(c.last_loss.bitwise_equal()) << c.last_loss.in_words();
  c.name_a = "none", c.name_b = "block";
  std::ostringstream out;
  write_comparison(out, c);
  EXPECT_NE(out.str().find("bitwise equal in 3 of 3 steps"), std::string::npos) << out.str();
  const auto j = nlohmann::json::parse(to_json(c));
  EXPECT_EQ(j.at("peak_by_op").at("difference"), c.of("peak_by_op").total.difference());
  EXPECT_EQ(j.at("config").at(0).at("b"), "block");
}

TEST(Compare, SettingsThatOneRunLacksAreListed) {
  RunRecord a = train_network({}).record, b = a;
  a.config.set("only in a", "1");
  b.config.set("only in b", "2");
  const Comparison c = compare(a, b);
  ASSERT_EQ(c.config.size(), 2u);
  EXPECT_FALSE(c.config[0].b);
  EXPECT_FALSE(c.config[1].a);
}

TEST(Compare, LossesAreComparedByTheirBits) {
  const double one_up = std::nextafter(1.0, 2.0), nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE((LossPair{1.0, one_up}.bitwise_equal()));
  EXPECT_FALSE((LossPair{0.0, -0.0}.bitwise_equal()));
  EXPECT_TRUE((LossPair{nan, nan}.bitwise_equal()));
  EXPECT_FALSE((LossPair{1.0, std::nullopt}.bitwise_equal()));
  EXPECT_NE((LossPair{1.0, std::nullopt}.in_words().find("unknown")), std::string::npos);
  EXPECT_NE((LossPair{1.0, one_up}.in_words().find("differs by 2.22e-16")), std::string::npos);
}

TEST(Compare, TimePerStepLeavesOutTheFirst) {
  RunBooks books;
  for (int64_t t : {1000, 30, 10, 20}) books.series.push_back({.duration_ns = t});
  const TimeSpread s = time_per_step(books);
  EXPECT_EQ(s.n_steps, 3);
  EXPECT_EQ(s.median_ns, 20);
  EXPECT_EQ(s.min_ns, 10);
  EXPECT_EQ(s.max_ns, 30);
  EXPECT_EQ(time_per_step({}).n_steps, 0);
}

}  // namespace
}  // namespace reckon::testing
