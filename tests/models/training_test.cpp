// Whole training runs of the small presets: the promises hold for every model, policy, precision and fusion.
#include <gtest/gtest.h>

#include <cmath>

#include "models/qwen/options.h"
#include "models/train/trainer.h"
#include "profiler/audit.h"
#include "profiler/ledger.h"
#include "tests/support/training_data.h"

namespace reckon::models {
namespace {

using autograd::FusionSet;

const testing::TrainingData& data() {
  static const testing::TrainingData d("training_test", "the cell adds up to the byte", 400);
  return d;
}

RunOptions options(const std::string& family, autograd::CheckpointPolicy policy, DType dtype,
                   FusionSet fuse = {}, int64_t steps = 2) {
  RunOptions o;
  o.family = family;
  o.preset = "tiny";
  if (family != "af3") o.data = family == "qwen" ? data().text() : data().alignment();
  if (family == "qwen") o.own<QwenOptions>().cache_dir = data().cache();
  o.checkpoint = policy;
  o.dtype = dtype;
  o.fuse = fuse;
  o.steps = steps;
  o.accumulate = 2;
  o.resolve();
  return o;
}

struct Outcome {
  std::vector<double> losses;
  std::vector<std::vector<float>> parameters;
  std::vector<Event> events;
};

Outcome run(const RunOptions& o, DeviceKind kind) {
  Device device(kind, DeviceSpec::this_machine());
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
        out.parameters.emplace_back(p.tensor.data<float>(), p.tensor.data<float>() + p.tensor.numel());
  }
  out.events.assign(ledger.events().begin(), ledger.events().end());
  return out;
}

constexpr autograd::CheckpointPolicy kPolicies[] = {
    autograd::CheckpointPolicy::none, autograd::CheckpointPolicy::selective,
    autograd::CheckpointPolicy::sublayer, autograd::CheckpointPolicy::block};

struct Setting {
  std::string family;
  DType dtype;
  bool fused;
  bool low_residual = false;

  RunOptions options(autograd::CheckpointPolicy policy) const {
    RunOptions o = models::options(family, policy, dtype, fused ? FusionSet::all() : FusionSet::none());
    o.low_residual = low_residual;
    return o;
  }
};

struct EverySetting : ::testing::TestWithParam<Setting> {};

TEST_P(EverySetting, DryRunEqualsRunEventForEventAndTheBooksClose) {
  for (auto policy : kPolicies) {
    const RunOptions o = GetParam().options(policy);
    const Outcome cpu = run(o, DeviceKind::cpu), meta = run(o, DeviceKind::meta);
    const profiler::AuditResult result = profiler::audit(meta.events, cpu.events);
    EXPECT_TRUE(result.equal) << autograd::name_of(policy) << ": " << result.text;
    const profiler::BooksCheck books = profiler::check_books(cpu.events);
    EXPECT_TRUE(books.closed) << autograd::name_of(policy) << ": " << books.text;
    EXPECT_TRUE(meta.losses.empty()) << "meta has no values to report";
  }
}

TEST_P(EverySetting, CheckpointPoliciesChangeNoBitOfLossesAndParameters) {
  const Outcome base = run(GetParam().options(kPolicies[0]), DeviceKind::cpu);
  for (double loss : base.losses) EXPECT_TRUE(std::isfinite(loss));
  for (auto policy : kPolicies) {
    const Outcome o = run(GetParam().options(policy), DeviceKind::cpu);
    EXPECT_EQ(o.losses, base.losses) << autograd::name_of(policy);
    EXPECT_EQ(o.parameters, base.parameters) << autograd::name_of(policy);
  }
}

std::vector<Setting> every_setting() {
  std::vector<Setting> all;
  for (const Family* f : all_families())
    for (bool fused : {false, true}) {
      for (DType dtype : {DType::f32, DType::bf16, DType::f16}) all.push_back({f->name, dtype, fused});
      // af3 refuses low residual streams.
      if (f->name != "af3") all.push_back({f->name, DType::bf16, fused, true});
    }
  return all;
}

INSTANTIATE_TEST_SUITE_P(All, EverySetting, ::testing::ValuesIn(every_setting()), [](const auto& info) {
  return fmt::format("{}_{}_{}{}", info.param.family, name_of(info.param.dtype),
                     info.param.fused ? "fused" : "eager", info.param.low_residual ? "_low_residual" : "");
});

TEST(Training, FusedAndEagerAgreeWithinRounding) {
  for (const Family* f : all_families()) {
    // Same dropout masks in both forms; two steps, so that gradients are compared through the update.
    const Outcome eager = run(options(f->name, kPolicies[0], DType::f32), DeviceKind::cpu);
    const Outcome fused = run(options(f->name, kPolicies[0], DType::f32, FusionSet::all()), DeviceKind::cpu);
    ASSERT_EQ(eager.losses.size(), fused.losses.size());
    for (size_t i = 0; i < eager.losses.size(); ++i)
      EXPECT_NEAR(eager.losses[i], fused.losses[i], 2e-4 * std::fabs(eager.losses[i])) << f->name;
  }
}

TEST(Training, SameSeedGivesTheSameLossBitForBitAndAnotherSeedDoesNot) {
  RunOptions o = options("evoformer", kPolicies[0], DType::f32);
  const Outcome a = run(o, DeviceKind::cpu), b = run(o, DeviceKind::cpu);
  EXPECT_EQ(a.losses, b.losses);
  o.seed = 2;
  EXPECT_NE(run(o, DeviceKind::cpu).losses, a.losses);
}

TEST(Training, ResumingContinuesBitForBitAsIfNeverStopped) {
  for (const Family* f : all_families())
    for (DType dtype : {DType::f32, DType::f16}) {
      const RunOptions o = options(f->name, kPolicies[0], dtype, FusionSet::all(), 6);
      const Outcome whole = run(o, DeviceKind::cpu);
      const std::string file = (data().dir() / "state.safetensors").string();
      {
        Device device(DeviceKind::cpu, DeviceSpec::this_machine());
        Trainer trainer(o, device, true);
        for (int i = 0; i < 3; ++i) trainer.step();
        trainer.save(file);
      }
      Device device(DeviceKind::cpu, DeviceSpec::this_machine());
      Trainer trainer(o, device, true, 3);
      trainer.resume(file);
      std::vector<double> losses;
      while (!trainer.done()) losses.push_back(*trainer.step().loss);
      EXPECT_EQ(losses, std::vector<double>(whole.losses.begin() + 3, whole.losses.end()))
          << f->name << " " << name_of(dtype);
      size_t i = 0;
      for (const NamedParameter& p : trainer.task().parameters().all()) {
        const std::vector<float> now(p.tensor.data<float>(), p.tensor.data<float>() + p.tensor.numel());
        EXPECT_EQ(now, whole.parameters[i++]) << p.name;
      }
    }
}

TEST(Training, ResumingAnotherRunIsRefusedByName) {
  const RunOptions o = options("qwen", kPolicies[0], DType::f32);
  const std::string file = (data().dir() / "other.safetensors").string();
  Device device(DeviceKind::cpu, DeviceSpec::this_machine());
  {
    Trainer trainer(o, device, true);
    trainer.step();
    trainer.save(file);
  }
  RunOptions changed = o;
  changed.lr = 0.5;
  Trainer trainer(changed, device, true, 1);
  try {
    trainer.resume(file);
    FAIL() << "a run with another learning rate is not this run";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("lr = "), std::string::npos) << e.what();
  }
}

TEST(Training, ItLearns) {
  for (const Family* f : all_families()) {
    RunOptions o = options(f->name, kPolicies[0], DType::f32, FusionSet::all(), 60);
    o.dropout = false;
    const Outcome r = run(o, DeviceKind::cpu);
    double last = 0;  // a step predicts a handful of residues, so one alone says little
    for (size_t i = r.losses.size() - 10; i < r.losses.size(); ++i) last += r.losses[i] / 10;
    EXPECT_LT(last, 0.7 * r.losses.front()) << f->name;
    RecordProperty(f->name, fmt::format("{:.3f} -> {:.3f}", r.losses.front(), last));
  }
}

TEST(Training, OutOfMemoryNamesWhoAskedAndWhoHoldsTheRest) {
  const RunOptions o = options("qwen", kPolicies[0], DType::f32);
  Device device(DeviceKind::cpu, DeviceSpec::this_machine(), {.memory_limit_bytes = 1 << 20});
  try {
    Trainer trainer(o, device, true);
    FAIL() << "the first segment of 2 MiB does not fit into 1 MiB";
  } catch (const OutOfMemory& e) {
    const std::string text = e.what();
    for (const char* part : {"out of memory", "embed_tokens", "phase init", "memory limit", "largest free gap"})
      EXPECT_NE(text.find(part), std::string::npos) << part << " in: " << text;
  }
}

TEST(Training, CheckNanNamesTheOpThatMadeIt) {
  RunOptions o = options("qwen", kPolicies[0], DType::f32, {}, 30);
  o.lr = 900;
  o.optimizer.clip = 0;
  o.schedule = Schedule::Kind::constant;
  Device device(DeviceKind::cpu, DeviceSpec::this_machine(), {.check_finite = true});
  Trainer trainer(o, device, true);
  for (const NamedParameter& p : trainer.task().parameters().all())
    if (p.name == "layers.1.mlp.up_proj.weight") p.tensor.data<float>()[0] = NAN;
  try {
    trainer.step();
    FAIL() << "a NaN weight must be noticed";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("op 'linear' in module 'layers.1.mlp.up_proj'"), std::string::npos)
        << e.what();
  }
}

}  // namespace
}  // namespace reckon::models
