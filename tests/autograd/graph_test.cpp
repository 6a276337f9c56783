// The graph: what it keeps, what it frees, hooks, and the errors of misuse.
#include <gtest/gtest.h>

#include "autograd/checkpoint.h"
#include "autograd/engine.h"
#include "autograd/fusion.h"
#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/fill/fill.h"
#include "ops/linear/linear.h"
#include "ops/sum/sum.h"
#include "tests/autograd/leaf.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

TEST(Graph, HooksSeeAGradientAndMayReplaceIt) {
  auto d = make_device(DeviceKind::cpu);
  Tensor x = leaf(*d, {3}, 2.0);
  const Tensor y = ops::mul(x, x);
  int seen = 0;
  autograd::add_grad_hook(y, [&](const Tensor& g) {
    ++seen;
    return ops::scale(g, 10.0);
  });
  autograd::add_grad_hook(x, [&](const Tensor&) {
    ++seen;
    return Tensor{};  // looks only
  });
  autograd::backward(ops::sum_all(y));
  EXPECT_EQ(seen, 2) << "each once, on the whole gradient, though the product gives x two";
  EXPECT_EQ(to_doubles(autograd::grad_of(x)), std::vector<double>(3, 40.0));
}

TEST(Graph, ADroppedBranchFreesWhatItKeptAtOnce) {
  auto d = make_device(DeviceKind::meta);
  Tensor x = leaf(*d, {1000}, 1.0);
  const size_t before = d->arena().stats().requested;
  {
    const Tensor branch = ops::silu(ops::silu(ops::exp(x)));
    EXPECT_EQ(d->arena().live_bytes(Category::saved), 8000u)
        << "exp's output and silu's input are one tensor; the second silu keeps another";
  }
  EXPECT_EQ(d->arena().stats().requested, before);
}

TEST(Graph, GradientsAccumulateOverBackwardCallsInOneBuffer) {
  auto d = make_device(DeviceKind::cpu);
  Tensor x = leaf(*d, {4}, 3.0);
  autograd::backward(ops::sum_all(ops::mul(x, x)));
  // Not a handle: a second owner would force a copy.
  const int64_t first = autograd::grad_of(x).storage()->id();
  autograd::backward(ops::sum_all(x));
  EXPECT_EQ(to_doubles(autograd::grad_of(x)), std::vector<double>(4, 7.0));
  EXPECT_EQ(autograd::grad_of(x).storage()->id(), first);
  EXPECT_EQ(d->arena().live_bytes(Category::gradient), 16u);
}

TEST(Graph, AnOverwrittenSavedTensorIsNoticed) {
  auto d = make_device(DeviceKind::cpu);
  Tensor x = leaf(*d, {4}, 3.0);
  const Tensor y = ops::exp(x);
  const Tensor loss = ops::sum_all(y);
  ops::fill(y, 0.0);
  EXPECT_THROW(autograd::backward(loss), Error);
}

TEST(Graph, ASecondBackwardIsAClearError) {
  auto d = make_device(DeviceKind::cpu);
  Tensor x = leaf(*d, {4}, 3.0);
  const Tensor loss = ops::sum_all(ops::exp(x));
  autograd::backward(loss);
  try {
    autograd::backward(loss);
    FAIL() << "the graph was freed";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("a second time"), std::string::npos) << e.what();
  }
  autograd::CheckpointScope block(autograd::CheckpointPolicy::block);
  const auto f = [](std::span<const Tensor> in) -> TensorList { return {ops::exp(in[0])}; };
  const Tensor again = ops::sum_all(autograd::segment(autograd::Boundary::block, f, {x})[0]);
  autograd::backward(again);
  EXPECT_THROW(autograd::backward(again), Error);
}

TEST(Graph, BackwardNeedsASeedOrASingleNumber) {
  auto d = make_device(DeviceKind::cpu);
  Tensor x = leaf(*d, {4}, 3.0);
  EXPECT_THROW(autograd::backward(ops::exp(x)), Error);
  const Tensor constant = ops::full(*d, {}, DType::f32, 1.0);
  EXPECT_THROW(autograd::backward(constant), Error) << "nothing below it collects a gradient";
}

TEST(Graph, ASegmentThatTakesAnotherPathIsRefused) {
  auto d = make_device(DeviceKind::cpu);
  Tensor x = leaf(*d, {4}, 3.0);
  autograd::CheckpointScope block(autograd::CheckpointPolicy::block);
  auto calls = std::make_shared<int>(0);
  const auto f = [calls](std::span<const Tensor> in) -> TensorList {
    return {++*calls == 1 ? ops::exp(in[0]) : ops::silu(in[0])};
  };
  const Tensor loss = ops::sum_all(autograd::segment(autograd::Boundary::block, f, {x})[0]);
  EXPECT_THROW(autograd::backward(loss), Error);
}

TEST(FusionScope, HoldsWhereItIsOpenAndAnInnerOneReplacesIt) {
  using autograd::Fusion;
  EXPECT_FALSE(autograd::fuses(Fusion::triangle));
  {
    const autograd::FusionScope outer(autograd::FusionSet::parse("triangle"));
    EXPECT_TRUE(autograd::fuses(Fusion::triangle));
    {
      const autograd::FusionScope inner(autograd::FusionSet::parse("attention"));
      EXPECT_FALSE(autograd::fuses(Fusion::triangle));
      EXPECT_TRUE(autograd::fuses(Fusion::attention));
    }
    EXPECT_TRUE(autograd::fuses(Fusion::triangle));
  }
  EXPECT_FALSE(autograd::fuses(Fusion::triangle));
}

TEST(FusionScope, ASegmentIsRecomputedUnderTheSetItRanUnder) {
  auto d = make_device(DeviceKind::cpu);
  Tensor x = leaf(*d, {4}, 3.0);
  const autograd::CheckpointScope block(autograd::CheckpointPolicy::block);
  std::vector<std::string> seen;
  const auto f = [&seen](std::span<const Tensor> in) -> TensorList {
    seen.push_back(autograd::fusion_state().to_string());
    return {ops::exp(in[0])};
  };
  Tensor loss;
  {
    const autograd::FusionScope fusions(autograd::FusionSet::parse("attention"));
    loss = ops::sum_all(autograd::segment(autograd::Boundary::block, f, {x})[0]);
  }
  {
    const autograd::FusionScope others(autograd::FusionSet::parse("triangle"));
    autograd::backward(loss);
    EXPECT_EQ(autograd::fusion_state().to_string(), "triangle") << "the caller's comes back";
  }
  EXPECT_EQ(seen, (std::vector<std::string>{"attention", "attention"}));
}

TEST(Graph, TheGradientOfASharedBufferIsNotStolen) {
  // add hands one gradient to both of its inputs; each leaf must still own its buffer.
  auto d = make_device(DeviceKind::cpu);
  Tensor a = leaf(*d, {4}, 1.0), b = leaf(*d, {4}, 2.0);
  autograd::backward(ops::sum_all(ops::add(a, b)));
  EXPECT_NE(autograd::grad_of(a).storage(), autograd::grad_of(b).storage());
  autograd::backward(ops::sum_all(a));
  EXPECT_EQ(to_doubles(autograd::grad_of(a)), std::vector<double>(4, 2.0));
  EXPECT_EQ(to_doubles(autograd::grad_of(b)), std::vector<double>(4, 1.0));
}

}  // namespace
}  // namespace reckon::testing
