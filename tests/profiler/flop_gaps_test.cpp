// Three columns of FLOPs and the names of their differences; and which metrics they come from.
#include "profiler/flop_gaps.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "profiler/device_metrics.h"
#include "profiler/device_report.h"
#include "profiler/device_status.h"

namespace reckon::testing {
namespace {

using namespace profiler;

TEST(Tiles, AreReadFromTheNamesOfLibraryKernels) {
  EXPECT_EQ(tile_of_kernel("nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_TNT"), (Tile{128, 256, 64}));
  EXPECT_EQ(
      tile_of_kernel(
          "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_bf16_128x64_32x6_tn_align8>(Params)"),
      (Tile{128, 64, 32}));
  EXPECT_EQ(
      tile_of_kernel("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize64x128x64_warpgroupsize1x1x1_execute"),
      (Tile{64, 128, 64}));
  EXPECT_EQ(tile_of_kernel("ampere_bf16_s16816gemm_bf16_128x256_ldg8_f2f_stages_32x3_tn"),
            (Tile{128, 256, 32}));
  for (const char* none : {"", "volta_sgemm", "_1x", "a_128x", "splitKreduce_kernel<32, 16>", "tilesize",
                           "x_0x4_2x2_", "_stages_"})
    EXPECT_FALSE(tile_of_kernel(none)) << none;
  EXPECT_TRUE(is_split_k_reduction("_ZN8cublasLt19splitKreduce_kernelILi32ELi16EEEvv"));
  EXPECT_FALSE(is_split_k_reduction("nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_TNT"));
}

TEST(Tiles, PaddingIsNoneForMultiplesAndComputedElsewhere) {
  const Tile t{128, 64, 32};
  EXPECT_EQ(product_flops({256, 512, 96, 3, 2}), 2 * 256 * 512 * 96 * 6);
  EXPECT_EQ(padded_flops({256, 512, 96, 3, 2}, t), product_flops({256, 512, 96, 3, 2}));
  EXPECT_EQ(padded_flops({129, 128, 32, 1, 1}, t), 2 * 192 * 128 * 32)
      << "m over tiles of 64, n over one of 128";
  EXPECT_EQ(padded_flops({1, 1, 1, 1, 1}, t), 2 * 128 * 64 * 32);
  EXPECT_EQ(padded_flops({128, 64, 33, 1, 1}, t), 2 * 128 * 64 * 64);
}

TEST(CausalPairs, AgreeWithCounting) {
  for (int64_t lq : {1, 2, 7, 16, 33})
    for (int64_t lk : {lq, lq + 1, lq + 20}) {
      int64_t pairs = 0;
      for (int64_t i = 0; i < lq; ++i) pairs += lk - lq + i + 1;
      EXPECT_EQ(causal_pairs(lq, lk), pairs);
      EXPECT_EQ(causal_tile_pairs(lq, lk, 1, 1), pairs);
      for (int64_t tq : {4, 16})
        for (int64_t tk : {3, 16}) {
          int64_t tiles = 0;
          for (int64_t q = 0; q < lq; q += tq)
            for (int64_t k = 0; k < lk; k += tk) {
              bool any = false;
              for (int64_t i = q; i < std::min(q + tq, lq); ++i) any |= k <= lk - lq + i;
              tiles += any ? tq * tk : 0;
            }
          EXPECT_EQ(causal_tile_pairs(lq, lk, tq, tk), tiles) << lq << ' ' << lk << ' ' << tq << ' ' << tk;
        }
    }
}

struct Columns {
  StepBooks work;
  DeviceStep traced;
  CounterBooks counted{.chip = "GH100", .n_passes = 3};

  void cell(const char* op, Phase phase, int64_t declared, std::vector<std::string> kernels,
            std::vector<Product> products) {
    work.work.push_back({.op = intern(op), .phase = phase, .calls = 1, .cost = {.matmul_flops = declared}});
    DeviceCell c{.op = intern(op), .phase = phase, .products = std::move(products)};
    for (const std::string& k : kernels) {
      c.kernels.push_back(static_cast<int32_t>(traced.kernels.size()));
      traced.kernels.push_back({k, k.find("reckon") != std::string::npos});
    }
    traced.cells.push_back(c);
  }
  void count(const char* op, Phase phase, std::optional<int64_t> tensor, std::optional<int64_t> scalar) {
    counted.work.push_back({.op = intern(op), .phase = phase, .tensor_bf16 = tensor, .scalar = scalar});
  }
  FlopRow row(const char* op, Phase phase) const {
    for (const FlopRow& r : reconcile_flops(work, &traced, counted))
      if (name_of(r.op) == op && r.phase == phase) return r;
    throw std::runtime_error("no such row");
  }
};

constexpr const char* kJet = "nvjet_hsh_128x64_64x4_1x2_h_bz_coopA_TNT";

TEST(FlopGaps, TilePaddingExplainsTheDifferenceOfAnOddProduct) {
  Columns c;
  const Product odd{100, 64, 64, 1, 1};
  c.cell("linear", Phase::forward, product_flops(odd), {kJet}, {odd});
  c.count("linear", Phase::forward, 2 * 128 * 64 * 64, 0);
  const FlopRow r = c.row("linear", Phase::forward);
  EXPECT_EQ(r.needed, product_flops(odd));
  EXPECT_EQ(r.executed, product_flops(odd));
  EXPECT_EQ(*r.hardware, 2 * 128 * 64 * 64);
  EXPECT_EQ(r.reasons, (std::vector<GapReason>{{"tile padding", 2 * 28 * 64 * 64}}));
  EXPECT_EQ(*r.unexplained, 0);
}

TEST(FlopGaps, AProductOfWholeTilesHasNoGap) {
  Columns c;
  const Product whole{256, 128, 64, 4, 2};
  c.cell("linear", Phase::forward, product_flops(whole), {kJet}, {whole});
  c.count("linear", Phase::forward, product_flops(whole), 0);
  const FlopRow r = c.row("linear", Phase::forward);
  EXPECT_TRUE(r.reasons.empty());
  EXPECT_EQ(*r.unexplained, 0);
}

TEST(FlopGaps, RecomputeIsNotNeededButIsExecuted) {
  Columns c;
  c.cell("linear", Phase::recompute, 1000, {}, {});
  c.count("linear", Phase::recompute, 1000, 0);
  const FlopRow r = c.row("linear", Phase::recompute);
  EXPECT_EQ(r.needed, 0);
  EXPECT_EQ(r.executed, 1000);
  EXPECT_EQ(r.reasons, (std::vector<GapReason>{{"recompute", 1000}}));
  EXPECT_EQ(*r.unexplained, 0) << "recompute lies between needed and executed";
}

TEST(FlopGaps, ReasonsOfUnknownSizeAreNamed) {
  Columns c;
  c.cell("attention", Phase::forward, 1000, {"_ZN6reckon3ops3gpu9attentionEv"}, {});
  c.count("attention", Phase::forward, 1500, 100);
  c.cell("linear", Phase::backward, 1000, {kJet, "other_64x64_32x3_", "splitKreduce_kernel"},
         {{10, 10, 5, 1, 1}});
  c.count("linear", Phase::backward, 1200, 7);
  EXPECT_EQ(c.row("attention", Phase::forward).reasons,
            (std::vector<GapReason>{{"whole tiles in our own kernels", std::nullopt},
                                    {"masked pairs inside visible tiles", std::nullopt}}));
  const FlopRow r = c.row("linear", Phase::backward);
  EXPECT_EQ(r.reasons,
            (std::vector<GapReason>{{"tile padding", std::nullopt}, {"split-K sums", std::nullopt}}));
  EXPECT_EQ(*r.unexplained, 207) << "a reason without a size explains nothing";
}

TEST(FlopGaps, WhatWasNotCountedIsUnknown) {
  Columns c;
  c.cell("linear", Phase::forward, 1000, {}, {});
  EXPECT_FALSE(c.row("linear", Phase::forward).hardware);
  c.count("linear", Phase::forward, 1000, std::nullopt);
  EXPECT_FALSE(c.row("linear", Phase::forward).hardware) << "half a figure is none";
  std::ostringstream out;
  write_flop_columns(out, c.work, nullptr, c.counted);
  EXPECT_NE(out.str().find("unknown"), std::string::npos) << out.str();
  c.counted.n_dropped = 3;
  out.str("");
  write_flop_columns(out, c.work, nullptr, c.counted);
  EXPECT_NE(out.str().find("!!! NOT COMPLETE"), std::string::npos) << out.str();
}

const std::vector<std::string> kHopper{"sm__ops_path_tensor_src_bf16_dst_fp32",
                                       "sm__ops_path_tensor_src_fp16",
                                       "sm__ops_path_tensor_src_tf32_dst_fp32",
                                       "dram__bytes_read",
                                       "dram__bytes_write",
                                       "lts__t_bytes",
                                       "gpu__time_duration",
                                       "sm__inst_executed_pipe_xu",
                                       "smsp__sass_thread_inst_executed_op_fadd_pred_on",
                                       "smsp__sass_thread_inst_executed_op_fmul_pred_on",
                                       "smsp__sass_thread_inst_executed_op_ffma_pred_on",
                                       "smsp__sass_thread_inst_executed_op_hadd_pred_on",
                                       "smsp__sass_thread_inst_executed_op_hmul_pred_on",
                                       "smsp__sass_thread_inst_executed_op_hfma_pred_on"};

TEST(Metrics, FallBackToTheNamesAChipHas) {
  using cupti::choose_metrics;
  const auto has = [](const cupti::MetricChoice& c, std::string_view name) {
    return std::ranges::any_of(c.metrics, [&](const cupti::Metric& m) { return m.name == name; });
  };
  EXPECT_TRUE(has(choose_metrics(kHopper, "bf16"), "sm__ops_path_tensor_src_bf16_dst_fp32"));
  EXPECT_TRUE(has(choose_metrics(kHopper, "f16"), "sm__ops_path_tensor_src_fp16"));
  EXPECT_TRUE(has(choose_metrics(kHopper, "f32"), "sm__ops_path_tensor_src_tf32_dst_fp32"));
  EXPECT_TRUE(choose_metrics(kHopper, "bf16").missing.empty());
  EXPECT_FALSE(choose_metrics(kHopper, "bf16").joint_tensor_types);

  std::vector<std::string> other = kHopper;
  std::erase(other, "sm__ops_path_tensor_src_fp16");
  other.insert(other.end(), {"sm__ops_path_tensor_src_fp16_dst_fp16", "sm__ops_path_tensor_src_fp16_dst_fp32"});
  std::ranges::replace(other, std::string("dram__bytes_read"), std::string("dram__bytes_op_read"));
  const auto split = choose_metrics(other, "f16");
  EXPECT_TRUE(has(split, "sm__ops_path_tensor_src_fp16_dst_fp16") &&
              has(split, "sm__ops_path_tensor_src_fp16_dst_fp32"));
  EXPECT_TRUE(has(split, "dram__bytes_op_read"));

  const std::vector<std::string> old{"sm__ops_path_tensor_src_fp16_bf16_tf32_dst_fp32", "gpu__time_duration"};
  const auto joint = choose_metrics(old, "bf16");
  EXPECT_TRUE(joint.joint_tensor_types);
  EXPECT_EQ(joint.missing.size(), 5u);
  EXPECT_TRUE(choose_metrics({}, "bf16").metrics.empty());
}

TEST(Metrics, ValuesOfRangesAreSummedByOpModuleAndPhase) {
  const cupti::MetricChoice choice = cupti::choose_metrics(kHopper, "bf16");
  const std::vector<std::string> names = choice.names();
  EXPECT_TRUE(std::ranges::all_of(names, [](const std::string& n) { return n.ends_with(".sum"); }));
  std::vector<double> values(names.size());
  const auto set = [&](std::string_view name, double v) {
    for (size_t i = 0; i < names.size(); ++i)
      if (names[i] == std::string(name) + ".sum") values[i] = v;
  };
  set("sm__ops_path_tensor_src_bf16_dst_fp32", 4096);
  set("smsp__sass_thread_inst_executed_op_fadd_pred_on", 10);
  set("smsp__sass_thread_inst_executed_op_ffma_pred_on", 100);
  set("dram__bytes_read", 640);
  const std::vector<RangeValues> ranges{{"1/layers.0.fc/linear/forward", values},
                                        {"2/layers.0.fc/linear/forward", values},
                                        {"3/layers.0.fc/linear/recompute", values},
                                        {"4/(top)/sum/loss", values},
                                        {"no range of ours", values},
                                        {"5/a/b/no phase", values}};
  const CounterBooks books = cupti::file_ranges(names, ranges);
  EXPECT_EQ(books.n_unfiled, 2);
  EXPECT_FALSE(books.half_weights_assumed);
  ASSERT_EQ(books.work.size(), 3u);
  const CountedWork& forward = books.work[0];
  EXPECT_EQ(name_of(forward.op), "linear");
  EXPECT_EQ(name_of(forward.module), "layers.0.fc");
  EXPECT_EQ(forward.phase, Phase::forward);
  EXPECT_EQ(*forward.tensor_bf16, 8192);
  EXPECT_EQ(*forward.scalar, 2 * (10 + 2 * 100)) << "a multiply-add is two";
  EXPECT_EQ(*forward.dram_read, 1280);
  EXPECT_EQ(*forward.dram_written, 0) << "counted, and none";
  EXPECT_FALSE(forward.tensor_f16) << "not counted";
  EXPECT_EQ(name_of(books.work[2].module), "") << "the empty module has a name in ranges only";
  set("smsp__sass_thread_inst_executed_op_hfma_pred_on", 1);
  EXPECT_TRUE(
      cupti::file_ranges(names, std::vector<RangeValues>{{"1/m/linear/forward", values}}).half_weights_assumed);
}

TEST(CuptiStatus, EveryObstacleIsOneLineThatSaysWhatToDo) {
  using cupti::explain;
  const std::vector<std::pair<int, std::string>> expected{{35, "administrators"},
                                                          {39, "another tool"},
                                                          {26, "dcgmi"},
                                                          {43, "MIG"},
                                                          {33, "virtual"},
                                                          {40, "virtual"},
                                                          {41, "confidential"},
                                                          {42, "CMP"},
                                                          {44, "SLI"},
                                                          {45, "Linux"},
                                                          {15, "libnvperf_host"},
                                                          {999, "no driver"},
                                                          {27, "not support"},
                                                          {46, "later toolkit"},
                                                          {12345, "refuses"}};
  for (const auto& [code, word] : expected) {
    const std::string line = explain(code, "counting");
    EXPECT_NE(line.find(word), std::string::npos) << line;
    EXPECT_NE(line.find("counting is not possible"), std::string::npos) << line;
    EXPECT_NE(line.find(std::to_string(code)), std::string::npos) << line;
    EXPECT_EQ(line.find('\n'), std::string::npos) << line;
  }
  EXPECT_NE(explain(39, "tracing", "CUPTI for nsys").find("CUPTI for nsys"), std::string::npos);
  for (int code = 1; code < 60; ++code) EXPECT_FALSE(explain(code, "x").empty());
}

}  // namespace
}  // namespace reckon::testing
