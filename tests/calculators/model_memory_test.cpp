// Memory of a model: every formula equal to the dry run, on one device and for every device of a group.
#include "calculators/model_memory.h"

#include <gtest/gtest.h>

#include "models/qwen/memory.h"
#include "models/qwen/options.h"
#include "runtime/core/error.h"

namespace reckon::calculators {
namespace {

ModelMemoryQuestion question(const char* preset, int64_t batch, int64_t seq) {
  ModelMemoryQuestion q;
  q.options.family = "qwen";
  q.options.preset = preset;
  q.options.batch = batch;
  q.options.seq = seq;
  q.options.resolve();
  return q;
}

const MemoryRow& row(const ModelMemory& m, std::string_view what) {
  for (const MemoryRow& r : m.rows)
    if (r.what.starts_with(what)) return r;
  throw Error("no such row");
}

class EveryModel : public ::testing::TestWithParam<std::tuple<const char*, int64_t, int64_t>> {};

TEST_P(EveryModel, FormulasEqualTheDryRunPlainAndCheckpointed) {
  const auto& [preset, batch, seq] = GetParam();
  for (const auto policy : {autograd::CheckpointPolicy::none, autograd::CheckpointPolicy::block}) {
    ModelMemoryQuestion q = question(preset, batch, seq);
    q.options.checkpoint = policy;
    q.devices = {3};
    const ModelMemory m = explain_model(q, DeviceSpec::this_machine());
    EXPECT_EQ(m.parameters_formula, m.parameters_counted);
    for (const char* what : {"weights", "gradients", "optimizer state", "low-precision", "activations",
                             "K/V cache in f32", "K/V cache in bf16"}) {
      const MemoryRow& r = row(m, what);
      ASSERT_TRUE(r.formula && r.dry_run) << what;
      EXPECT_EQ(*r.formula, *r.dry_run) << what;
    }
    for (const GroupRow& g : m.groups) {
      EXPECT_EQ(g.state(), g.dry_run_state) << g.scheme;
      EXPECT_EQ(g.activations, g.dry_run_activations) << g.scheme;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Configs, EveryModel,
                         ::testing::Values(std::tuple{"tiny", 2, 16}, std::tuple{"tiny", 1, 300},
                                           std::tuple{"tiny3", 3, 40}, std::tuple{"demo", 8, 128},
                                           std::tuple{"qwen2.5-0.5b", 1, 512}, std::tuple{"qwen3-0.6b", 2, 64},
                                           std::tuple{"qwen3-8b", 1, 16}));

TEST(ModelMemory, SevenBillionNeedSixteenBytesPerParameter) {
  ModelMemoryQuestion q = question("qwen2.5-7b", 1, 64);
  q.devices = {};
  const ModelMemory m = explain_model(q, DeviceSpec::this_machine());
  const Exact counted =
      *row(m, "weights").dry_run + *row(m, "gradients").dry_run + *row(m, "optimizer").dry_run;
  EXPECT_EQ(counted, Exact(16) * 7615616512);
  EXPECT_EQ(recipe_named("f32").sum(), 16);
  EXPECT_EQ(recipe_named("mixed").sum(), 16);
  EXPECT_EQ(recipe_named("pure-bf16").sum(), 8);
  EXPECT_THROW(recipe_named("fp4"), Error);
}

TEST(ModelMemory, WhatTheLossDoesNotReachHasNoGradientAndNoMoments) {
  for (const std::string family : {"evoformer", "pairformer", "af3"}) {
    ModelMemoryQuestion q;
    q.options.family = family;
    q.options.preset = "tiny";
    q.options.resolve();
    const ModelMemory m = explain_model(q, DeviceSpec::this_machine());
    for (const MemoryRow& r : m.rows) EXPECT_TRUE(r.agrees()) << r.what;
    for (const GroupRow& g : m.groups) EXPECT_EQ(g.state(), g.dry_run_state) << g.scheme;
    EXPECT_EQ(*row(m, "gradients").dry_run < *row(m, "weights").dry_run, family != "pairformer");
  }
}

TEST(ModelMemory, CacheBytesPerTokenAreThePublishedOnes) {
  const DeviceSpec spec = DeviceSpec::this_machine();
  for (const auto& [name, bytes] : {std::pair{"qwen2.5-0.5b", 12288},
                                    {"qwen2.5-7b", 57344},
                                    {"qwen2.5-72b", 327680},
                                    {"qwen3-0.6b", 114688}}) {
    const auto c = models::QwenConfig::preset(name);
    EXPECT_EQ(models::kv_cache_bytes(c, 1, 1, DType::bf16), Exact(bytes)) << name;
    EXPECT_EQ(recorded_kv_bytes(question(name, 2, 5).options, 2, 5, DType::bf16, spec), Exact(10) * bytes)
        << name;
  }
}

TEST(ModelMemory, TensorParallelRanksAddUpToTheModel) {
  const auto c = models::QwenConfig::preset("qwen2.5-7b");
  const auto rank = models::tensor_parallel_config(c, 4);
  EXPECT_EQ(rank.heads, 7);
  EXPECT_EQ(rank.kv_heads, 1);
  EXPECT_EQ(rank.head_dim, c.head_dim);
  // Norms are on every device: 2 per layer and the last.
  EXPECT_EQ(4 * rank.n_parameters() - c.n_parameters(), 3 * (2 * c.layers + 1) * c.hidden);
  EXPECT_THROW(models::tensor_parallel_config(c, 8), Error) << "28 heads";
  EXPECT_THROW(models::tensor_parallel_config(c, 0), Error);
}

TEST(ModelMemory, BytesOnTheWireFollowTheRing) {
  ModelMemoryQuestion q = question("qwen3-0.6b", 2, 32);
  q.devices = {4};
  q.recipe = "mixed";
  const ModelMemory m = explain_model(q, DeviceSpec::this_machine());
  ASSERT_EQ(m.groups.size(), 5u);
  const Exact P = 596049920;
  EXPECT_EQ(m.groups[0].sent, 2 * 3 * (2 * P / 4)) << "data parallel: an all-reduce of 16-bit gradients";
  EXPECT_EQ(m.groups[1].sent, m.groups[0].sent) << "ZeRO-1 moves the same";
  EXPECT_EQ(m.groups[2].sent, m.groups[0].sent);
  EXPECT_EQ(m.groups[3].sent * 2, m.groups[0].sent * 3) << "ZeRO-3 half as much again";
  for (size_t i = 1; i < 4; ++i)
    EXPECT_LT(m.groups[i].state(), m.groups[i - 1].state()) << "each stage shards more";
  EXPECT_EQ(m.groups[3].state() * 4, m.groups[0].state());
}

TEST(ModelMemory, TensorParallelSumsAreTheResultsOfTheDryRunsRowParallelLayers) {
  ModelMemoryQuestion q = question("qwen3-0.6b", 2, 32);
  q.devices = {2};
  const ModelMemory m = explain_model(q, DeviceSpec::this_machine());
  const GroupRow& tp = m.groups.back();
  ASSERT_TRUE(tp.scheme.starts_with("tensor parallel"));
  models::RunOptions o = q.options;
  o.own<models::QwenOptions>().sizes =
      models::tensor_parallel_config(models::QwenConfig::preset("qwen3-0.6b"), 2);
  Exact summed = 0;  // what has to be added up over the devices in the forward pass
  for (const OpCall& c : record_training(o, DeviceSpec::this_machine()).calls) {
    const std::string_view module = name_of(c.module);
    if (c.phase == Phase::forward &&
        (module.ends_with("o_proj") || module.ends_with("down_proj") || module == "embed_tokens"))
      summed += 4 * Exact(numel(c.outputs.at(0).shape));
  }
  // Backward does the same for the inputs; a ring of two sends half of the bytes twice.
  EXPECT_EQ(tp.sent, 2 * summed + 3 * 4 * Exact(2 * 32));
}

TEST(ModelMemory, GroupsThatCannotBeAreRefused) {
  ModelMemoryQuestion q = question("tiny", 1, 8);
  q.devices = {1};
  EXPECT_THROW(explain_model(q, DeviceSpec::this_machine()), Error);
  q.devices = {-4};
  EXPECT_THROW(explain_model(q, DeviceSpec::this_machine()), Error);
}

}  // namespace
}  // namespace reckon::calculators
