// Training time and inference cost: arithmetic by hand, and nothing beyond what the tables say.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "runtime/core/error.h"
#include "studies/inference_cost.h"
#include "studies/training_time.h"

namespace reckon::calculators {
namespace {

const TrainingTime& result(const TrainingTimeEstimate& e, std::string_view name) {
  for (const TrainingTime& t : e.results)
    if (t.name == name) return t;
  throw Error("no such result");
}

TEST(TrainingTimeEstimates, StagesTimesStepTimeByHand) {
  const TrainingTimeEstimate e = estimate_training_time(default_training_time());
  const TrainingTime& fused = result(e, "MegaFold");
  EXPECT_TRUE(fused.complete);
  EXPECT_NEAR(fused.seconds, 74250 * 6.8 + 1750 * 13.2 + 250 * 17.8 + 1750 * 17.8, 1e-6);
  EXPECT_NEAR(fused.device_hours, fused.seconds * 256 / 3600, 1e-6);
  const TrainingTime& eager = result(e, "eager");
  EXPECT_FALSE(eager.complete);
  EXPECT_NEAR(eager.seconds, 74250 * 10.5, 1e-6) << "only what fits";
  EXPECT_EQ(eager.stages[1].why_none, "out of memory");
  EXPECT_FALSE(eager.stages[1].step_seconds.has_value()) << "no time is invented";
}

TEST(TrainingTimeEstimates, TheContradictoryBaseIsNamedAndCarriedApart) {
  const TrainingTimeEstimate e = estimate_training_time(default_training_time());
  const TrainingTime& scaled = result(e, "MegaFold through the base");
  EXPECT_NEAR(*scaled.stages[0].step_seconds, 14.82, 1e-12);
  EXPECT_NEAR(*scaled.stages[1].step_seconds, 14.82 * 13.2 / 6.8, 1e-9);
  ASSERT_EQ(e.contradictions.size(), 3u);
  EXPECT_NE(e.contradictions[0].find("what that curve has at 512"), std::string::npos)
      << "it is eager's value at 512: " << e.contradictions[0];
  TrainingTimeQuestion q = default_training_time();
  q.base = {384, 6.8};
  EXPECT_EQ(estimate_training_time(q).contradictions.size(), 2u) << "the base agrees with one curve now";
  q.base.reset();
  EXPECT_TRUE(estimate_training_time(q).contradictions.empty());
}

TEST(TrainingTimeEstimates, TheCurveIsPassedThroughAndNotLeft) {
  const StepTimeCurve c{"x", {{100, 1}, {400, 16}}, 0};
  EXPECT_DOUBLE_EQ(*c.seconds_at(100), 1);
  EXPECT_DOUBLE_EQ(*c.seconds_at(400), 16);
  EXPECT_NEAR(*c.seconds_at(200), 4, 1e-12) << "a square between them";
  EXPECT_FALSE(c.seconds_at(99).has_value());
  EXPECT_FALSE(c.seconds_at(401).has_value());
}

TEST(TrainingTimeEstimates, NonsenseIsRefused) {
  const auto bad = [](auto change) {
    TrainingTimeQuestion q = default_training_time();
    change(q);
    EXPECT_THROW(estimate_training_time(q), Error);
  };
  bad([](auto& q) { q.stages.clear(); });
  bad([](auto& q) { q.curves.clear(); });
  bad([](auto& q) { q.stages[0].steps = 0; });
  bad([](auto& q) { q.stages[0].size = -384; });
  bad([](auto& q) { q.devices = 0; });
  bad([](auto& q) { q.curves[0].points.clear(); });
  bad([](auto& q) { q.curves[0].points[1].second = -1; });
  bad([](auto& q) { q.curves[0].points[1].second = std::nan(""); });
  bad([](auto& q) { std::swap(q.curves[0].points[0], q.curves[0].points[1]); });
  bad([](auto& q) { q.base = {384, 0.0}; });
  bad([](auto& q) { q.base = {384, std::numeric_limits<double>::infinity()}; });
}

TEST(InferenceCostEstimates, OneBinByHand) {
  InferenceCostQuestion q = default_inference_cost();
  q.bins = {{300, 300, 1000}};
  const InferenceCost c = estimate_inference_cost(q);
  EXPECT_EQ(c.sequences, 1000);
  ASSERT_EQ(c.devices.size(), 3u);
  EXPECT_DOUBLE_EQ(c.devices[0].seconds_middle, 13000);
  EXPECT_DOUBLE_EQ(c.devices[1].seconds_middle, 13000 * 312e12 / 1979e12) << "the sparse peak";
  EXPECT_DOUBLE_EQ(c.devices[2].seconds_middle, 13000 * 312e12 / 989e12) << "the dense peak";
}

TEST(InferenceCostEstimates, MgnifyCountsEverySequenceOnceAndBracketsTheMiddle) {
  const InferenceCost c = estimate_inference_cost(default_inference_cost());
  EXPECT_EQ(c.sequences, 194493626);
  double sum = 0;
  for (const BinCost& b : c.bins) sum += b.seconds;
  EXPECT_NEAR(sum, c.devices[0].seconds_middle, 1e-3);
  for (const DeviceCost& d : c.devices) {
    EXPECT_LT(d.seconds_low, d.seconds_middle);
    EXPECT_LT(d.seconds_middle, d.seconds_high);
  }
  EXPECT_NEAR(c.devices[2].seconds_middle / c.devices[1].seconds_middle, 1979.0 / 989.0, 1e-12);
  EXPECT_DOUBLE_EQ(device_years(365.25 * 86400), 1);
}

TEST(InferenceCostEstimates, NonsenseIsRefused) {
  const auto bad = [](auto change) {
    InferenceCostQuestion q = default_inference_cost();
    change(q);
    EXPECT_THROW(estimate_inference_cost(q), Error);
  };
  bad([](auto& q) { q.bins.clear(); });
  bad([](auto& q) { q.bins = {{200, 299, 0}}; });
  bad([](auto& q) { q.bins[0].count = -1; });
  bad([](auto& q) { q.bins[0].low = 0; });
  bad([](auto& q) { q.bins[0].high = 100; });
  bad([](auto& q) { q.bins[1].low = 250; });
  bad([](auto& q) { q.bins[0].low = 50; });
  bad([](auto& q) { q.bins.push_back({3000, 3099, 1}); });
  bad([](auto& q) { q.bins = {{200, 299, std::numeric_limits<int64_t>::max()}, {300, 399, 1}}; });
  bad([](auto& q) { q.anchors.points.clear(); });
  bad([](auto& q) { q.anchors.points[0].second = std::nan(""); });
  bad([](auto& q) { q.anchor_peak_flops = 0; });
  bad([](auto& q) { q.devices[0].peak_flops = -1; });
}

}  // namespace
}  // namespace reckon::calculators
