// What a fused pair block in bf16 keeps for backward, per position of the pair track, and how often it launches
// a kernel on a GPU. Bounds of the bytes and their derivation: one 16-bit copy of every product's output and
// none of norms and gates is 9,576 B, of branch inputs alone 1,352 B.
#include <gtest/gtest.h>

#include "autograd/autocast.h"
#include "autograd/engine.h"
#include "autograd/fusion.h"
#include "autograd/grad_mode.h"
#include "autograd/node.h"
#include "models/pairformer/pairformer.h"
#include "runtime/events/scope.h"
#include "tests/support/event_log.h"

namespace reckon::models {
namespace {

// Of one block more: two blocks less one, so that what stands around them does not count.
double bytes_per_position(int64_t n, autograd::CheckpointPolicy policy) {
  int64_t kept[2];
  for (int blocks = 1; blocks <= 2; ++blocks) {
    Device device(DeviceKind::meta, DeviceSpec::this_machine());
    ParameterSet parameters;
    Builder builder(device, DType::f32, 1, parameters);
    PairformerConfig c;
    std::vector<std::unique_ptr<PairStack>> stacks;
    for (int i = 0; i < blocks; ++i)
      stacks.push_back(std::make_unique<PairStack>(builder, std::to_string(i), c.pair_stack()));
    Tensor z = Tensor::empty(device, {1, n, n, c.c_z}, DType::bf16, Category::input, "z");
    autograd::set_requires_grad(z);
    const Tensor mask = Tensor::empty(device, {1, n, n}, DType::f32, Category::input, "mask");
    autograd::FusionScope fusions(autograd::FusionSet::all());
    autograd::CheckpointScope checkpoint(policy);
    autograd::AutocastScope precision(DType::bf16, true);
    PhaseScope phase(Phase::forward);
    for (const auto& stack : stacks) z = (*stack)(z, mask, {.training = true, .recorded = {}});
    kept[blocks - 1] = static_cast<int64_t>(device.arena().live_bytes(Category::saved));
    EXPECT_EQ(z.dtype(), DType::bf16);
  }
  return static_cast<double>(kept[1] - kept[0]) / static_cast<double>(n * n);
}

TEST(PairBlock, SelectiveKeepsAtMostTenKilobytesWithoutAMatrixProductAgain) {
  EXPECT_LE(bytes_per_position(128, autograd::CheckpointPolicy::selective), 10000);
}

TEST(PairBlock, SublayerKeepsAtMostFifteenHundredBytes) {
  EXPECT_LE(bytes_per_position(128, autograd::CheckpointPolicy::sublayer), 1500);
}

TEST(PairBlock, NothingGrowsFasterThanTheNumberOfPairs) {
  for (auto policy : {autograd::CheckpointPolicy::none, autograd::CheckpointPolicy::selective,
                      autograd::CheckpointPolicy::sublayer}) {
    const double small = bytes_per_position(96, policy), large = bytes_per_position(384, policy);
    EXPECT_LE(large, small) << autograd::name_of(policy);
  }
}

TEST(PairBlock, LaunchesOnAGpuDoNotGrow) {
  Device device(DeviceKind::meta, DeviceSpec::named_or_file("h100"));
  ParameterSet parameters;
  Builder builder(device, DType::f32, 1, parameters);
  const PairformerConfig c;
  const PairStack stack(builder, "0", c.pair_stack());
  Tensor z = Tensor::empty(device, {1, 384, 384, c.c_z}, DType::f32, Category::input, "z");
  autograd::set_requires_grad(z);
  const Tensor mask = Tensor::empty(device, {1, 384, 384}, DType::f32, Category::input, "mask");
  const Tensor seed = Tensor::empty(device, z.shape(), DType::f32, Category::input, "seed");
  testing::EventLog log;
  device.add_sink(&log);
  {
    const autograd::FusionScope fusions(autograd::FusionSet::all());
    const autograd::AutocastScope precision(DType::bf16);
    const PhaseScope phase(Phase::forward);
    const Tensor out = stack(z, mask, {.training = true, .recorded = {}});
    autograd::backward(out, seed);
  }
  device.remove_sink(&log);
  int forward = 0, backward = 0;
  for (const Event& e : log.events)
    if (e.kind == EventKind::launched) ++(e.phase == Phase::forward ? forward : backward);
  EXPECT_EQ(forward, 24);
  EXPECT_EQ(backward, 52);
}

}  // namespace
}  // namespace reckon::models
