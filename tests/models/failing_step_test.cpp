// A training step that runs out of memory, at any allocation, leaves a trainer that goes on as if it had not been
// tried: the same parameters, bit for bit, as a run that was never interrupted.
#include <gtest/gtest.h>

#include "models/qwen/options.h"
#include "models/train/trainer.h"
#include "runtime/core/rng.h"
#include "tests/support/failing_device.h"
#include "tests/support/training_data.h"

namespace reckon::models {
namespace {

const testing::TrainingData& data() {
  static const testing::TrainingData d("failing_step_test", "as if it had not been tried", 400);
  return d;
}

RunOptions options(const std::string& family, autograd::CheckpointPolicy policy) {
  RunOptions o;
  o.family = family;
  o.preset = "tiny";
  o.data = family == "qwen" ? data().text() : data().alignment();
  if (family == "qwen") o.own<QwenOptions>().cache_dir = data().cache();
  o.checkpoint = policy;
  o.dtype = DType::bf16;
  o.fuse = autograd::FusionSet::all();
  o.steps = 100'000;
  o.accumulate = 2;
  o.resolve();
  return o;
}

std::vector<std::vector<float>> parameters(Trainer& trainer) {
  std::vector<std::vector<float>> out;
  for (const NamedParameter& p : trainer.task().parameters().all())
    out.emplace_back(p.tensor.data<float>(), p.tensor.data<float>() + p.tensor.numel());
  return out;
}

struct Tried {
  const char* family;
  int64_t every;  // of its allocations; prime to whatever repeats in a step
};
class FailingStep : public ::testing::TestWithParam<Tried> {};

TEST_P(FailingStep, IsTakenAgainAsIfItHadNotBeenTried) {
  for (auto policy : {autograd::CheckpointPolicy::selective, autograd::CheckpointPolicy::block}) {
    const RunOptions o = options(GetParam().family, policy);
    testing::FailingDevice interrupted, other;
    Trainer trainer(o, *interrupted, true), reference(o, *other, true);
    trainer.step(), reference.step();
    const size_t held = interrupted->arena().stats().requested;
    int interruptions = 0;
    for (int64_t n = 1;; n += GetParam().every) {
      interrupted.fail_at(n);
      bool failed = false;
      try {
        trainer.step();
      } catch (const OutOfMemory&) {
        failed = true;
      }
      interrupted.fail_at(0);
      if (failed) {
        ++interruptions;
        EXPECT_EQ(interrupted->arena().stats().requested, held) << "after allocation " << n;
        trainer.step();
      }
      reference.step();
      ASSERT_EQ(trainer.steps_done(), reference.steps_done());
      ASSERT_EQ(parameters(trainer), parameters(reference))
          << autograd::name_of(policy) << ", allocation " << n;
      if (!failed) break;
    }
    EXPECT_GT(interruptions, 10);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, FailingStep, ::testing::Values(Tried{"qwen", 23}, Tried{"evoformer", 97}),
                         [](const auto& info) { return std::string(info.param.family); });

// Without the fused update each parameter's needs memory: one that runs out of it leaves some a step ahead.
TEST(FailingUpdate, IsRefusedFromThenOn) {
  RunOptions o = options("qwen", autograd::CheckpointPolicy::none);
  o.fuse = autograd::FusionSet::none();
  testing::FailingDevice device;
  Trainer trainer(o, *device, true);
  trainer.step();
  const int64_t before = device->arena().stats().n_allocations;
  trainer.step();
  const int64_t in_a_step = device->arena().stats().n_allocations - before;
  device.fail_at(in_a_step - 3);
  EXPECT_THROW(trainer.step(), OutOfMemory);
  device.fail_at(0);
  try {
    trainer.step();
    FAIL() << "some parameters are a step ahead";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("part way"), std::string::npos) << e.what();
  }
}

TEST(RandomStreams, DropoutAndParametersOfARunShareNone) {
  Device device(DeviceKind::meta, DeviceSpec::this_machine());
  const RunOptions o = options("evoformer", autograd::CheckpointPolicy::none);
  Trainer trainer(o, device, true);
  trainer.step();
  const uint64_t first_of_dropout = stream_of(StreamUse::dropout, 0);
  EXPECT_GT(autograd::grad_state().generator.next_stream, first_of_dropout) << "dropout drew something";
  EXPECT_LT(trainer.task().parameters().all().size(), first_of_dropout) << "a parameter's stream is its number";
}

}  // namespace
}  // namespace reckon::models
