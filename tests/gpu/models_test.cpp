// Whole training steps on the GPU: the losses of the CPU, the events of the dry run, and the same bits
// under every checkpoint policy.
#include <gtest/gtest.h>

#include <cmath>

#include "models/qwen/options.h"
#include "models/train/trainer.h"
#include "profiler/audit.h"
#include "profiler/ledger.h"
#include "tests/gpu/gpu_device.h"
#include "tests/support/training_data.h"

namespace reckon::models {
namespace {

struct Setting {
  std::string family;
  DType dtype;
  std::string_view fuse;
  bool wide = false;  // qwen: rows that the fused norms and transitions leave to the library

  RunOptions options(autograd::CheckpointPolicy policy) const {
    // Small enough for the emulator.
    static const testing::TrainingData data("gpu_models_test", "every byte has a name", 100, 8, 12);
    RunOptions o;
    o.family = family;
    o.preset = "tiny";
    if (wide) {
      auto& sizes = o.own<QwenOptions>().sizes;
      sizes = QwenConfig::preset("tiny");
      sizes->hidden = 136;
    }
    o.data = family == "qwen" ? data.text() : data.alignment();
    if (family == "qwen") o.own<QwenOptions>().cache_dir = data.cache();
    o.checkpoint = policy;
    o.dtype = dtype;
    o.fuse = autograd::FusionSet::parse(std::string(fuse));
    o.seq = family == "qwen" ? 24 : 9;
    o.batch = 1;
    o.steps = 2;
    o.resolve();
    return o;
  }
};

struct Outcome {
  std::vector<double> losses;
  std::vector<std::vector<std::byte>> parameters;
  std::vector<Event> events;
};

Outcome run(const RunOptions& o, Device& device) {
  profiler::Ledger ledger;
  ledger.keep_events(true);
  device.add_sink(&ledger);
  Outcome out;
  {
    Trainer trainer(o, device, true);
    while (!trainer.done())
      if (const StepReport r = trainer.step(); r.loss) out.losses.push_back(*r.loss);
    if (device.executes())
      for (const NamedParameter& p : trainer.task().parameters().all())
        out.parameters.push_back(p.tensor.to_host());
  }
  out.events.assign(ledger.events().begin(), ledger.events().end());
  device.remove_sink(&ledger);
  return out;
}

struct GpuTraining : ::testing::TestWithParam<Setting> {};

TEST_P(GpuTraining, LosesAsTheCpuDoes) {
  const RunOptions o = GetParam().options(autograd::CheckpointPolicy::none);
  const auto gpu = testing::make_gpu();
  Device cpu(DeviceKind::cpu, DeviceSpec::this_machine());
  const Outcome a = run(o, *gpu), b = run(o, cpu);
  ASSERT_EQ(a.losses.size(), b.losses.size());
  // f32: rounding alone. bf16: products round at other places, and one optimizer step lies between the losses.
  const double tolerance = o.dtype == DType::f32 ? 2e-5 : 2e-2;
  for (size_t i = 0; i < a.losses.size(); ++i)
    EXPECT_NEAR(a.losses[i], b.losses[i], tolerance * std::fabs(b.losses[i])) << "step " << i;
}

TEST_P(GpuTraining, DryRunEqualsRunEventForEventAndTheBooksClose) {
  const RunOptions o = GetParam().options(autograd::CheckpointPolicy::selective);
  const auto gpu = testing::make_gpu();
  Device meta(DeviceKind::meta, testing::gpu_spec());
  const Outcome executed = run(o, *gpu), predicted = run(o, meta);
  const profiler::AuditResult result = profiler::audit(predicted.events, executed.events);
  EXPECT_TRUE(result.equal) << result.text;
  const profiler::BooksCheck books = profiler::check_books(executed.events);
  EXPECT_TRUE(books.closed) << books.text;
}

TEST_P(GpuTraining, CheckpointPoliciesChangeNoBit) {
  const auto gpu = testing::make_gpu();
  const Outcome base = run(GetParam().options(autograd::CheckpointPolicy::none), *gpu);
  for (auto policy : {autograd::CheckpointPolicy::selective, autograd::CheckpointPolicy::sublayer,
                      autograd::CheckpointPolicy::block}) {
    const Outcome o = run(GetParam().options(policy), *gpu);
    EXPECT_EQ(o.losses, base.losses) << autograd::name_of(policy);
    EXPECT_EQ(o.parameters, base.parameters) << autograd::name_of(policy);
  }
}

constexpr std::string_view kFused = "all";

INSTANTIATE_TEST_SUITE_P(
    All, GpuTraining,
    ::testing::Values(Setting{"qwen", DType::f32, "none"}, Setting{"qwen", DType::f32, kFused},
                      Setting{"qwen", DType::bf16, kFused}, Setting{"qwen", DType::f32, kFused, true},
                      Setting{"evoformer", DType::f32, "none"}, Setting{"evoformer", DType::bf16, kFused},
                      Setting{"pairformer", DType::f32, kFused}, Setting{"pairformer", DType::bf16, "none"}),
    [](const auto& p) {
      return fmt::format("{}_{}_{}{}", p.param.family, reckon::name_of(p.param.dtype),
                         p.param.fuse == "none" ? "plain" : "fused", p.param.wide ? "_wide" : "");
    });

}  // namespace
}  // namespace reckon::models
