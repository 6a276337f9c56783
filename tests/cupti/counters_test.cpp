// Which counters a chip has and how many passes they take: CUPTI's host interface knows without a GPU.
#include "gpu/cupti/counters.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace reckon::testing {
namespace {

using namespace profiler::cupti;

struct CuptiCounters : ::testing::Test {
  void SetUp() override {
    std::string why;
    library = open_library(&why);
    if (!library) GTEST_SKIP() << "NOT TESTED, no counters can be planned: " << why;
    chips = supported_chips(*library);
  }
  // -1: refused.
  int passes(const std::string& chip, std::vector<std::string> metrics) {
    std::string why;
    const auto m = ChipMetrics::open(*library, chip, {}, &why);
    for (std::string& name : metrics) name += name.find('.') == std::string::npos ? ".sum" : "";
    return m && m->configure(std::move(metrics), &why) ? m->n_passes() : -1;
  }
  const Library* library = nullptr;
  std::vector<std::string> chips;
};

const std::vector<std::string> kTraffic{"dram__bytes_read", "dram__bytes_write", "gpu__time_duration"};

std::vector<std::string> with_traffic(std::vector<std::string> metrics) {
  metrics.insert(metrics.end(), kTraffic.begin(), kTraffic.end());
  return metrics;
}

TEST_F(CuptiCounters, TensorOperationsAndTrafficAreOnePass) {
  for (const char* chip : {"GA100", "GA102", "AD102", "GH100", "GB100"})
    EXPECT_EQ(passes(chip, with_traffic({"sm__ops_path_tensor_src_bf16_dst_fp32"})), 1) << chip;
  EXPECT_EQ(passes("GH100", with_traffic({"sm__ops_path_tensor_src_bf16_dst_fp32", "lts__t_bytes",
                                          "sm__cycles_active.avg"})),
            1);
  EXPECT_EQ(passes("GH100", with_traffic({"sm__ops_path_tensor_src_tf32_dst_fp32"})), 1);
  EXPECT_EQ(passes("GB100", with_traffic({"sm__ops_path_tensor_src_tf32_dst_fp32"})), 2);
  EXPECT_EQ(passes("GH100", with_traffic({"sm__ops_path_tensor_src_fp16"})), 2);
}

TEST_F(CuptiCounters, TypesOfTensorOperationsTakePassesOfTheirOwn) {
  EXPECT_EQ(passes("GH100", {"sm__ops_path_tensor_src_bf16_dst_fp32", "sm__ops_path_tensor_src_tf32_dst_fp32"}),
            2);
  EXPECT_EQ(passes("GH100", {"sm__ops_path_tensor_src_bf16_dst_fp32", "sm__ops_path_tensor_src_tf32_dst_fp32",
                             "sm__ops_path_tensor_src_fp16"}),
            4);
  EXPECT_EQ(passes("GH100", with_traffic({"sm__ops_path_tensor_src_bf16_dst_fp32",
                                          "smsp__sass_thread_inst_executed_op_ffma_pred_on"})),
            2)
      << "instructions are counted by patched code, in a pass of their own";
}

TEST_F(CuptiCounters, WhatIsChosenCanBeCountedOnEveryChip) {
  EXPECT_GE(chips.size(), 30u);
  for (const std::string& chip : chips) {
    std::string why;
    const auto probe = ChipMetrics::open(*library, chip, {}, &why);
    if (!probe) {
      EXPECT_EQ(chip, "GV11B") << why;
      continue;
    }
    const std::vector<std::string> available = probe->counters();
    EXPECT_GT(available.size(), 1000u) << chip;
    for (const char* dtype : {"bf16", "f16", "f32"}) {
      const MetricChoice choice = choose_metrics(available, dtype);
      const auto m = ChipMetrics::open(*library, chip, {}, &why);
      ASSERT_TRUE(m) << chip;
      EXPECT_TRUE(m->configure(choice.names(), &why)) << chip << ": " << why;
      EXPECT_GE(m->n_passes(), 1) << chip;
      EXPECT_LE(m->n_passes(), 3) << chip << ' ' << dtype;
      // What a chip cannot tell is named.
      for (Quantity q : choice.missing)
        EXPECT_TRUE(q == Quantity::dram_read || q == Quantity::dram_written || q <= Quantity::tensor_tf32)
            << chip << ": " << name_of(q);
      // Names are enough to know what was chosen.
      const MetricChoice back = choice_of_names(choice.names());
      ASSERT_EQ(back.metrics.size(), choice.metrics.size());
      for (size_t i = 0; i < back.metrics.size(); ++i) {
        EXPECT_EQ(back.metrics[i].weight, choice.metrics[i].weight) << back.metrics[i].name;
        if (!choice.joint_tensor_types) {
          EXPECT_EQ(back.metrics[i].quantity, choice.metrics[i].quantity) << back.metrics[i].name;
        }
      }
    }
  }
}

TEST_F(CuptiCounters, HopperAmpereAndBlackwellTakeThreePasses) {
  for (const char* chip : {"GH100", "GA100", "GB100", "GB202"})
    for (const char* dtype : {"bf16", "f16", "f32"}) {
      std::string why;
      const auto probe = ChipMetrics::open(*library, chip, {}, &why);
      ASSERT_TRUE(probe) << why;
      const MetricChoice choice = choose_metrics(probe->counters(), dtype);
      EXPECT_TRUE(choice.missing.empty()) << chip;
      EXPECT_FALSE(choice.joint_tensor_types) << chip;
      EXPECT_EQ(passes(chip, choice.names()), 3) << chip << ' ' << dtype;
    }
}

TEST_F(CuptiCounters, OlderAndIntegratedChipsFallBack) {
  const auto choose = [&](const char* chip, const char* dtype) {
    std::string why;
    const auto m = ChipMetrics::open(*library, chip, {}, &why);
    return choose_metrics(m->counters(), dtype);
  };
  EXPECT_TRUE(choose("TU102", "bf16").joint_tensor_types);
  const auto has = [](const MetricChoice& c, std::string_view name) {
    return std::ranges::any_of(c.metrics, [&](const Metric& m) { return m.name == name; });
  };
  EXPECT_TRUE(has(choose("GB202", "bf16"), "dram__bytes_op_read"));
  EXPECT_TRUE(has(choose("GA100", "f16"), "sm__ops_path_tensor_src_fp16_dst_fp32"));
  EXPECT_TRUE(has(choose("GH100", "f16"), "sm__ops_path_tensor_src_fp16"));
  EXPECT_TRUE(has(choose("GB100", "bf16"), "smsp__sass_thread_inst_executed_op_ffma2_pred_on"));
  EXPECT_FALSE(choose("GB10B", "bf16").missing.empty()) << "memory it shares with the host";
}

TEST_F(CuptiCounters, AWrongNameIsAnErrorThatNamesIt) {
  std::string why;
  const auto m = ChipMetrics::open(*library, "GH100", {}, &why);
  ASSERT_TRUE(m) << why;
  EXPECT_FALSE(m->configure({"no_such_metric.sum"}, &why));
  EXPECT_NE(why.find("no_such_metric.sum"), std::string::npos) << why;
  EXPECT_FALSE(ChipMetrics::open(*library, "GX999", {}, &why));
  EXPECT_NE(why.find("not possible"), std::string::npos) << why;
}

TEST_F(CuptiCounters, AnImageThatIsNoneGivesNoValues) {
  std::string why;
  const auto m = ChipMetrics::open(*library, "GH100", {}, &why);
  ASSERT_TRUE(m->configure({"dram__bytes_read.sum"}, &why)) << why;
  EXPECT_FALSE(m->config_image().empty());
  EXPECT_TRUE(m->evaluate({}, 0).empty());
}

}  // namespace
}  // namespace reckon::testing
