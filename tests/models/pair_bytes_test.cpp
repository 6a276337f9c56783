// What a fused pair block in bf16 keeps for backward, per position of the pair track. Bounds and their
// derivation: one 16-bit copy of every product's output and none of norms and gates is 9,576 B, of branch
// inputs alone 1,352 B.
#include <gtest/gtest.h>

#include "autograd/autocast.h"
#include "autograd/engine.h"
#include "autograd/grad_mode.h"
#include "autograd/node.h"
#include "models/pairformer/pairformer.h"
#include "runtime/scope.h"

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
      stacks.push_back(
          std::make_unique<PairStack>(builder, std::to_string(i), c.pair_stack(), FusionSet::all()));
    Tensor z = Tensor::empty(device, {1, n, n, c.c_z}, DType::bf16, Category::input, "z");
    autograd::set_requires_grad(z);
    const Tensor mask = Tensor::empty(device, {1, n, n}, DType::f32, Category::input, "mask");
    autograd::CheckpointScope checkpoint(policy);
    autograd::AutocastScope precision(DType::bf16, true);
    PhaseScope phase(Phase::forward);
    for (const auto& stack : stacks) z = (*stack)(z, mask, {.training = true, .recorded = {}});
    kept[blocks - 1] = static_cast<int64_t>(device.arena().live_bytes(Category::saved));
    EXPECT_EQ(z.dtype(), DType::bf16);
  }
  return static_cast<double>(kept[1] - kept[0]) / static_cast<double>(n * n);
}

TEST(PairBytes, SelectiveKeepsAtMostTenKilobytesWithoutAMatrixProductAgain) {
  EXPECT_LE(bytes_per_position(128, autograd::CheckpointPolicy::selective), 10000);
}

TEST(PairBytes, SublayerKeepsAtMostFifteenHundredBytes) {
  EXPECT_LE(bytes_per_position(128, autograd::CheckpointPolicy::sublayer), 1500);
}

TEST(PairBytes, NothingGrowsFasterThanTheNumberOfPairs) {
  for (auto policy : {autograd::CheckpointPolicy::none, autograd::CheckpointPolicy::selective,
                      autograd::CheckpointPolicy::sublayer}) {
    const double small = bytes_per_position(96, policy), large = bytes_per_position(384, policy);
    EXPECT_LE(large, small) << autograd::name_of(policy);
  }
}

}  // namespace
}  // namespace reckon::models
