// The AF3-shaped model against published figures of a public baseline: operator events, activation bytes and
// peaks. Every number comes from a dry run at full depth.
#include <gtest/gtest.h>

#include <cmath>

#include "calculators/dry_run.h"
#include "models/af3/config.h"
#include "studies/af3_figures.h"
#include "studies/af3_figures_data.h"

namespace reckon::models::af3 {
namespace {

TEST(Af3Figures, OperatorEventsOfTheProfiledStepAreThePublishedOnes) {
  const profiler::FrameworkEvents e = cli::af3_operator_events();
  EXPECT_EQ(e.linear_calls, 32122);
  EXPECT_EQ(e.linear, 37538);
  EXPECT_EQ(e.native_layer_norm, 12686);
  EXPECT_EQ(e.sigmoid, 10903);
  EXPECT_EQ(e.silu, 2601);
}

TEST(Af3Figures, OperatorEventsOfOtherStepsAreNot) {
  const auto counts = [](void (*change)(RunOptions&)) {
    RunOptions o = profiled_step(16);
    change(o);
    return profiler::framework_events(calculators::dry_run(o).ledger.last_step_events(), {autocast_modules()});
  };
  for (auto change : {+[](RunOptions& o) { o.own<StepOptions>().augmentations = 48; },
                      +[](RunOptions& o) { o.own<StepOptions>().recycles = 2; },
                      +[](RunOptions& o) { o.own<StepOptions>().rollout = false; },
                      +[](RunOptions& o) { o.checkpoint = autograd::CheckpointPolicy::none; }}) {
    const profiler::FrameworkEvents e = counts(change);
    EXPECT_NE(e.linear, 37538);
    EXPECT_NE(e.native_layer_norm, 12686);
    EXPECT_NE(e.sigmoid, 10903);
  }
}

TEST(Af3Figures, ActivationBarsAreThePublishedOnes) {
  struct Bar {
    int64_t tokens;
    double transition, attention, total;  // GB
  };
  const Bar published[] = {{64, 4.93, 5.96, 17.8},
                           {96, 8.56, 11.7, 33.5},
                           {128, 12.9, 19.4, 52.7},
                           {160, 18.4, 30.3, 77.2},
                           {192, 24.4, 44.5, 107.4}};
  std::vector<int64_t> tokens;
  for (const Bar& b : published) tokens.push_back(b.tokens);
  const auto bars = cli::af3_activation_bars(tokens);
  const auto off = [](int64_t bytes, double gb) {
    return std::abs(static_cast<double>(bytes) / (gb * 1e9) - 1);
  };
  for (size_t i = 0; i < bars.size(); ++i) {
    const Bar& p = published[i];
    EXPECT_LT(off(bars[i].total(), p.total), 0.03) << p.tokens;
    EXPECT_LT(off(bars[i].transition, p.transition), 0.05) << p.tokens;
    EXPECT_LT(off(bars[i].attention, p.attention), 0.05) << p.tokens;
    EXPECT_LT(off(bars[i].other, p.total - p.transition - p.attention), 0.05) << p.tokens;
  }
}

TEST(Af3Figures, FamiliesSumToWhatTheBooksSayBackwardHolds) {
  for (int64_t tokens : {16, 40}) {
    const auto bars = cli::af3_activation_bars(std::vector<int64_t>{tokens});
    EXPECT_EQ(bars[0].total(), calculators::dry_run(activation_step(tokens)).ledger.books().last->saved_bytes);
  }
}

TEST(Af3Figures, EverythingOnFitsTheTargets) {
  const auto peak = [](int64_t tokens) {
    return static_cast<double>(
               calculators::dry_run(smallest_step(tokens)).ledger.books().for_memory().peak_bytes) /
           1e9;
  };
  EXPECT_LE(peak(384), 20.0);
  EXPECT_LE(peak(768), 40.0);
}

}  // namespace
}  // namespace reckon::models::af3
