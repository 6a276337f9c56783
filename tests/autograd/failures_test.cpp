// What raises leaves no trace: graph, gradients, generator, scopes and memory are as if it had not begun, and the
// next call is right.
#include <gtest/gtest.h>

#include <thread>

#include "autograd/checkpoint.h"
#include "autograd/engine.h"
#include "autograd/grad_mode.h"
#include "autograd/node.h"
#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/fill/fill.h"
#include "ops/linear/linear.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/sum/sum.h"
#include "ops/view/view.h"
#include "runtime/events/scope.h"
#include "tests/autograd/leaf.h"
#include "tests/support/failing_device.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

using autograd::Boundary;
using autograd::CheckpointPolicy;

double first_of(const Tensor& t) { return to_doubles(t)[0]; }

TEST(Failures, ABackwardThatRaisesLeavesTheRestOfTheGraphUsable) {
  auto d = make_device(DeviceKind::cpu);
  Tensor x = leaf(*d, {4}, 2.0), v = leaf(*d, {4}, 2.0);
  const Tensor bad = ops::mul(v, v);
  const Tensor h = ops::mul(x, x);
  const Tensor other = ops::sum_all(h), loss = ops::sum_all(ops::add(h, bad));
  ops::fill(v.detached(), 3.0);
  EXPECT_THROW(autograd::backward(loss), Error);
  EXPECT_FALSE(autograd::grad_of(x).defined());
  EXPECT_THROW(autograd::backward(loss), Error) << "still stale";
  autograd::backward(other);
  EXPECT_EQ(first_of(autograd::grad_of(x)), 4.0);
}

TEST(Failures, AHookThatRaisesUndoesWhatWasDelivered) {
  auto d = make_device(DeviceKind::cpu);
  Tensor x = leaf(*d, {4}, 2.0), w = leaf(*d, {4}, 3.0), z = leaf(*d, {4}, 1.0);
  const Tensor y = ops::scale(x, 2.0);
  bool raise = true;
  autograd::add_grad_hook(y, [&raise](const Tensor&) -> Tensor {
    if (raise) raise_error("the hook's own error");
    return {};
  });
  const Tensor both = ops::add(y, ops::scale(w, 5.0));
  autograd::backward(ops::sum_all(z));  // a gradient from before
  EXPECT_THROW(autograd::backward(ops::sum_all(ops::add(both, z))), Error);
  EXPECT_FALSE(autograd::grad_of(w).defined()) << "had arrived before the hook was reached";
  EXPECT_FALSE(autograd::grad_of(x).defined());
  // A sum that was there cannot be taken apart again: it is refused, not silently wrong.
  EXPECT_THROW(autograd::grad_of(z), Error);
  autograd::clear_grad(z);
  EXPECT_FALSE(autograd::grad_of(z).defined());
  raise = false;
  autograd::backward(ops::sum_all(y));
  EXPECT_EQ(first_of(autograd::grad_of(x)), 2.0);
}

TEST(Failures, ASegmentThatRaisesWhenRunAgainLeavesTheGeneratorAndMayBeTriedAgain) {
  auto d = make_device(DeviceKind::cpu);
  const autograd::CheckpointScope block(CheckpointPolicy::block);
  Tensor x = leaf(*d, {4}, 2.0);
  int calls = 0;
  const auto f = [&calls](std::span<const Tensor> in) -> TensorList {
    if (++calls == 2) raise_error("out of memory, say");
    ++autograd::grad_state().generator.next_stream;
    return {ops::mul(in[0], in[0])};
  };
  autograd::grad_state().generator.next_stream = 7;
  const Tensor out = autograd::segment(Boundary::block, f, {x})[0];
  EXPECT_EQ(autograd::grad_state().generator.next_stream, 8u);
  const Tensor seed = ops::full(*d, {4}, DType::f32, 1.0);
  EXPECT_THROW(autograd::backward(out, seed), Error);
  EXPECT_EQ(autograd::grad_state().generator.next_stream, 8u);
  EXPECT_EQ(context().phase, Phase::init);
  autograd::backward(out, seed);
  EXPECT_EQ(first_of(autograd::grad_of(x)), 4.0);
  EXPECT_EQ(autograd::grad_state().generator.next_stream, 8u);
}

TEST(Failures, ASegmentThatRaisesAtOnceDrewNoNumbers) {
  auto d = make_device(DeviceKind::cpu);
  const autograd::CheckpointScope block(CheckpointPolicy::block);
  Tensor x = leaf(*d, {4}, 2.0);
  autograd::grad_state().generator.next_stream = 3;
  const auto f = [](std::span<const Tensor> in) -> TensorList {
    ++autograd::grad_state().generator.next_stream;
    return {ops::mul(in[0], ops::reshape(in[0], {5}))};
  };
  EXPECT_THROW(autograd::segment(Boundary::block, f, {x}), Error);
  EXPECT_EQ(autograd::grad_state().generator.next_stream, 3u);
  // The next call is recorded as usual: nothing of the first run is left behind.
  const Tensor y = ops::mul(x, x);
  autograd::backward(ops::sum_all(y));
  EXPECT_EQ(first_of(autograd::grad_of(x)), 4.0);
}

TEST(Failures, AWriteThatFailsToAllocateHasNotWritten) {
  FailingDevice d;
  {
    Tensor x = leaf(*d, {40}, 2.0);
    const Tensor loss = ops::sum_all(ops::mul(x, x));
    const ops::OpDef writes_and_makes{
        .name = "writes_and_makes", .plan = [](const ops::PlanContext& c) {
          ops::Plan p;
          p.outputs = {{.shape = c.in[0].shape(), .alias_of = 0, .writes = true}, {.shape = c.in[0].shape()}};
          return p;
        }};
    const Tensor target = x.detached();
    d.fail_at(1);
    EXPECT_THROW(ops::dispatch(writes_and_makes, {&target, 1}), OutOfMemory);
    d.fail_at(0);
    autograd::backward(loss);
    EXPECT_EQ(first_of(autograd::grad_of(x)), 4.0);
  }
  EXPECT_EQ(d->arena().stats().requested, 0u);
}

// Forward and backward of two blocks; gradients of all leaves.
struct Step {
  std::vector<std::vector<double>> gradients;
  double loss = 0;
};

struct Leaves {
  explicit Leaves(Device& d) {
    const auto make = [&](const Shape& shape, uint64_t stream) {
      Tensor t = Tensor::empty(d, shape, DType::f32, Category::parameter, "leaf");
      ops::fill_random(t, ops::Distribution::normal, 0.1, 0.5, 3, stream);
      autograd::set_requires_grad(t);
      all.push_back(t);
    };
    make({5, 8}, 0), make({8}, 1), make({8, 8}, 2), make({8}, 3), make({8, 8}, 4);
  }
  void clear() const {
    for (const Tensor& t : all) autograd::clear_grad(t);
  }
  TensorList all;
};

Step step_of(const Leaves& leaves, CheckpointPolicy policy) {
  const autograd::CheckpointScope scope(policy);
  const TensorList& p = leaves.all;
  Tensor h = p[0];
  for (size_t b = 0; b < 2; ++b) {
    const auto block = [&p, b](std::span<const Tensor> in) -> TensorList {
      ++autograd::grad_state().generator.next_stream;
      const Tensor n = ops::rms_norm(in[0], p[1 + 2 * b], 1e-6);
      return {ops::add(in[0], ops::silu(ops::linear(n, p[2 + 2 * b])))};
    };
    h = autograd::segment(Boundary::block, block, {h})[0];
  }
  const Tensor loss = ops::sum_all(ops::mul(h, h));
  h = {};
  autograd::backward(loss);
  Step r;
  r.loss = first_of(loss);
  for (const Tensor& t : p) r.gradients.push_back(to_doubles(autograd::grad_of(t)));
  return r;
}

TEST(Failures, AStepWhoseNthAllocationFailsLeavesNothingAndTheNextIsRight) {
  for (CheckpointPolicy policy :
       {CheckpointPolicy::none, CheckpointPolicy::selective, CheckpointPolicy::block}) {
    FailingDevice d;
    {
      const Leaves leaves(*d);
      const auto generator = autograd::grad_state().generator;
      const Step expected = step_of(leaves, policy);
      leaves.clear();
      const size_t held = d->arena().stats().requested;
      int64_t n = 0;
      for (bool failed = true; failed;) {
        autograd::grad_state().generator = generator;
        d.fail_at(++n);
        try {
          step_of(leaves, policy);
          failed = false;
        } catch (const OutOfMemory&) {
        }
        d.fail_at(0);
        if (!failed) break;
        EXPECT_EQ(d->arena().stats().requested, held) << name_of(policy) << " after allocation " << n;
        EXPECT_EQ(context().phase, Phase::init);
        for (const Tensor& t : leaves.all) EXPECT_FALSE(autograd::grad_of(t).defined());
        autograd::grad_state().generator = generator;
        const Step again = step_of(leaves, policy);
        EXPECT_EQ(again.gradients, expected.gradients) << name_of(policy) << " after allocation " << n;
        EXPECT_EQ(again.loss, expected.loss);
        leaves.clear();
      }
      EXPECT_GT(n, 30) << "the step must have been interrupted everywhere";
    }
    EXPECT_EQ(d->arena().stats().requested, 0u);
  }
}

TEST(Failures, AGraphBuiltByTwoThreadsOneAfterTheOther) {
  auto d = make_device(DeviceKind::cpu);
  Tensor x = leaf(*d, {4}, 2.0), y, z;
  for (int i = 0; i < 5; ++i) y = ops::mul(x, x);  // this thread is ahead
  std::thread other([&] { z = ops::mul(y, ops::add(y, x)); });
  other.join();
  const Tensor loss = ops::sum_all(ops::add(ops::mul(z, y), x));
  std::thread backward([&] { autograd::backward(loss); });
  backward.join();
  // (x^4 + x^3) x^2 + x: 6 x^5 + 5 x^4 + 1.
  EXPECT_EQ(first_of(autograd::grad_of(x)), 6 * 32.0 + 5 * 16.0 + 1.0);
}

TEST(Hooks, SeeTheWholeGradientOnceAndMustKeepItsShapeTypeAndBytes) {
  auto d = make_device(DeviceKind::cpu);
  const auto gradient = [&](autograd::GradHook hook) {
    Tensor x = leaf(*d, {2}, 1.0);
    autograd::add_grad_hook(x, std::move(hook));
    autograd::backward(ops::sum_all(ops::add(ops::scale(x, 2.0), ops::scale(x, 3.0))));
    return first_of(autograd::grad_of(x));
  };
  std::vector<double> seen;
  EXPECT_EQ(gradient([&](const Tensor& g) {
              seen.push_back(first_of(g));
              return ops::full(*d, {2}, DType::f32, 1.0);
            }),
            1.0);
  EXPECT_EQ(seen, std::vector<double>{5.0});
  EXPECT_THROW(gradient([&](const Tensor&) { return ops::full(*d, {7}, DType::f32, 1.0); }), Error);
  EXPECT_THROW(gradient([&](const Tensor&) { return ops::full(*d, {2}, DType::f64, 1.0); }), Error);
  EXPECT_THROW(gradient([&](const Tensor& g) {
                 ops::fill(g, 0.0);
                 return Tensor{};
               }),
               Error);
}

TEST(Hooks, MayDrawRandomNumbersThatNobodyElseDraws) {
  auto d = make_device(DeviceKind::cpu);
  Tensor x = leaf(*d, {2}, 1.0);
  const uint64_t before = autograd::grad_state().generator.next_stream;
  autograd::add_grad_hook(x, [](const Tensor&) {
    ++autograd::grad_state().generator.next_stream;
    return Tensor{};
  });
  autograd::backward(ops::sum_all(x));
  EXPECT_EQ(autograd::grad_state().generator.next_stream, before + 1);
}

TEST(Hooks, SeeTheSameUnderEveryPolicy) {
  for (CheckpointPolicy policy :
       {CheckpointPolicy::none, CheckpointPolicy::selective, CheckpointPolicy::block}) {
    auto d = make_device(DeviceKind::cpu);
    const autograd::CheckpointScope scope(policy);
    Tensor x = leaf(*d, {2}, 3.0);
    std::vector<double> seen;
    const auto note = [&seen](const Tensor& g) {
      seen.push_back(first_of(g));
      return ops::scale(g, 2.0);
    };
    const auto f = [&](std::span<const Tensor> in) -> TensorList {
      const Tensor y = ops::mul(in[0], in[0]);
      autograd::add_grad_hook(y, note);
      return {ops::add(y, ops::scale(y, 4.0))};
    };
    const Tensor out = autograd::segment(Boundary::block, f, {x})[0];
    autograd::add_grad_hook(out, note);
    autograd::add_grad_hook(x, note);
    autograd::backward(ops::sum_all(out));
    EXPECT_EQ(seen, (std::vector<double>{1.0, 10.0, 120.0})) << name_of(policy);
    EXPECT_EQ(first_of(autograd::grad_of(x)), 240.0);
  }
}

}  // namespace
}  // namespace reckon::testing
