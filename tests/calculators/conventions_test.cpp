// Counting conventions: the published figures, and dry run = closed formula for every configuration tried.
#include <gtest/gtest.h>

#include "calculators/qwen_conventions.h"
#include "models/qwen/flops.h"
#include "runtime/core/error.h"

namespace reckon::calculators {
namespace {

ConventionTable count(const char* preset, int64_t batch, int64_t seq, int64_t rank = 8,
                      bool checkpoint = false) {
  ConventionQuestion q;
  q.config = models::QwenConfig::preset(preset);
  q.batch = batch;
  q.seq = seq;
  q.lora_rank = rank;
  q.checkpoint_block = checkpoint;
  return count_conventions(q, DeviceSpec::this_machine());
}

struct Published {
  const char* id;
  int64_t forward, step;  // 0: the convention has none
};

TEST(Conventions, HalfABillionParametersGiveThePublishedFigures) {
  const ConventionTable t = count("qwen2.5-0.5b", 4, 512);
  for (const Published& p :
       {Published{"flops-module", 1830602178560, 5491806535680},
        {"flops-module-lora", 1832011464704, 5496034394112},
        {"table-1", 2124751482880, 6374254448640},
        {"by-operation", 2250514828224, 3 * 2250514828224},
        {"by-operation-lora", 2253420694464, 3 * 2253420694464},
        {"full-width-matmul", 2252460578816, 3 * 2252460578816},
        {"full-width-matmul-lora", 2252460578816 + 2214592512, 3 * (2252460578816 + 2214592512)},
        {"one-head", 0, 2413050200064},
        {"matmul", 2113459453952, 6340378361856},
        {"matmul-causal", 2068450377728, 6205351133184},
        {"flop-counter-sdpa", 2113459453952, 6385475518464},
        {"fvcore", 1056729726976, 0},
        {"deepspeed", 2114050850816, 3 * 2114050850816},
        {"6nd", 2023558217728, 6070674653184},
        {"6nd-non-embedding", 0, 4397852000256},
        {"palm", 0, 6341257592832},
        {"lookup-as-matmul", 0, 8013201014784},
        {"lora-needed", 2115674046464, 4317591371776}}) {
    const Convention& c = t.row(p.id);
    EXPECT_EQ(c.forward.value_or(0), Exact(p.forward)) << p.id;
    EXPECT_EQ(c.step.value_or(0), Exact(p.step)) << p.id;
    EXPECT_TRUE(c.has_formula() && c.agrees()) << p.id;
    EXPECT_FALSE(c.leaves_out.empty()) << p.id;
  }
  EXPECT_EQ(t.rows.size(), 19u) << "a new convention needs its published figure here";
  EXPECT_EQ(t.parts.projections() - t.parts.o.flops, Exact(24 * 4227858432));
  EXPECT_EQ(t.parts.o.flops, Exact(24 * 3288334336));
  EXPECT_EQ(t.parts.attention(), Exact(24 * 3758096384));
  EXPECT_EQ(t.parts.feed_forward(), Exact(24 * 53552873472));
  EXPECT_EQ(t.parts.head.flops, Exact(557607550976));
}

TEST(Conventions, ABudgetBuysThePublishedNumbersOfSteps) {
  const ConventionTable t = count("qwen2.5-0.5b", 4, 512);
  EXPECT_EQ(steps_for(1e17, *t.row("flops-module-lora").step), Exact(18194));
  EXPECT_EQ(steps_for(1e17, *t.row("matmul").step), Exact(15771));
  EXPECT_EQ(steps_for(1e17, *t.row("lora-needed").step), Exact(23161));
  EXPECT_EQ(steps_for(1, 2), Exact(0));
  EXPECT_THROW(steps_for(1e17, 0), Error);
  EXPECT_THROW(steps_for(-1, 5), Error);
}

class EverySize : public ::testing::TestWithParam<std::tuple<const char*, int64_t, int64_t>> {};

TEST_P(EverySize, TheDryRunHasThePartsOfTheFormulaAndEveryConventionItsClosedForm) {
  const auto& [preset, batch, seq] = GetParam();
  for (const bool checkpoint : {false, true}) {
    const ConventionTable t = count(preset, batch, seq, 3, checkpoint);
    EXPECT_EQ(t.parts, parts_by_formula(t.question.config, batch, seq, checkpoint));
    for (const Convention& c : t.rows) EXPECT_TRUE(c.agrees()) << c.id;
    EXPECT_EQ(t.row("lora-needed").forward, t.lora_recorded_forward) << "a second dry run, with adapters";
    EXPECT_EQ(t.row("lora-needed").step, t.lora_recorded_step);
    EXPECT_EQ(t.executed,
              *t.row("matmul").step + (checkpoint ? t.parts.forward - t.parts.head.flops : Exact(0)));
  }
}

INSTANTIATE_TEST_SUITE_P(Configs, EverySize,
                         ::testing::Values(std::tuple{"tiny", 1, 1}, std::tuple{"tiny", 3, 17},
                                           std::tuple{"tiny3", 2, 5}, std::tuple{"demo", 2, 64},
                                           std::tuple{"qwen3-0.6b", 1, 100}, std::tuple{"qwen2.5-7b", 1, 33},
                                           std::tuple{"qwen3-8b", 2, 8}));

TEST(Conventions, AWidthWhoseQuotientRoundsDownLosesNoColumn) {
  ConventionQuestion q;
  q.config = models::QwenConfig::preset("tiny");
  q.config.hidden = 38;
  q.config.heads = q.config.kv_heads = 1;
  q.config.head_dim = 38;
  q.config.intermediate = 87;
  ASSERT_LT(static_cast<int64_t>(38.0 * (87.0 / 38.0)), 87) << "the case this test is about";
  q.batch = 1;
  q.seq = 3;
  EXPECT_TRUE(count_conventions(q, DeviceSpec::this_machine()).row("flops-module").agrees());
}

TEST(Conventions, OnlyAPlainRunShowsItsParts) {
  models::RunOptions o;
  o.family = "qwen";
  o.preset = "tiny";
  o.fuse = autograd::FusionSet::all();
  o.resolve();
  EXPECT_THROW(recorded_parts(record_training(o, DeviceSpec::this_machine())), Error);
}

TEST(Conventions, UseIsTheModelsWorkOverTheNamedRateAndRecomputeCountsForHardwareOnly) {
  ConventionQuestion q;
  q.config = models::QwenConfig::preset("tiny");
  q.batch = 1;
  q.seq = 32;
  q.checkpoint_block = true;
  q.step_seconds = 2.0;
  q.peak_flops = 1e9;
  q.peak_name = "made up";
  const ConventionTable t = count_conventions(q, DeviceSpec::this_machine());
  const auto j = conventions_json(t);
  EXPECT_DOUBLE_EQ(j["mfu"].get<double>(), t.row("matmul").step->to_double() / 2e9);
  EXPECT_DOUBLE_EQ(j["hfu"].get<double>(), t.executed.to_double() / 2e9);
  EXPECT_GT(j["hfu"].get<double>(), j["mfu"].get<double>());
  std::ostringstream text;
  write_conventions(text, t);
  EXPECT_NE(text.str().find("made up"), std::string::npos) << "the denominator is named";
}

}  // namespace
}  // namespace reckon::calculators
