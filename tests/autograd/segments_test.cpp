// Segments that backward runs again: bit for bit what running them once gives, or an error that says why not.
#include <gtest/gtest.h>

#include "autograd/autocast.h"
#include "autograd/checkpoint.h"
#include "autograd/engine.h"
#include "autograd/grad_mode.h"
#include "autograd/node.h"
#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/dropout/dropout.h"
#include "ops/fill/fill.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/linear/linear.h"
#include "ops/sum/sum.h"
#include "ops/view/view.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

using autograd::Boundary;
using autograd::CheckpointPolicy;
using autograd::SegmentFn;

Tensor random(Device& d, const Shape& shape, uint64_t stream, bool trained) {
  Tensor t = Tensor::empty(d, shape, DType::f32, trained ? Category::parameter : Category::input, "t");
  ops::fill_random(t, ops::Distribution::normal, 0, 1, 11, stream);
  if (trained) autograd::set_requires_grad(t);
  return t;
}

TensorList block(const SegmentFn& f, TensorList inputs) {
  return autograd::segment(Boundary::block, f, std::move(inputs));
}

TEST(Segments, WithoutAGradientAreNotRunAgainAndTheirOutputsRequireNone) {
  std::vector<double> gradients[2];
  for (CheckpointPolicy policy : {CheckpointPolicy::none, CheckpointPolicy::block}) {
    auto d = make_device(DeviceKind::cpu);
    const autograd::CheckpointScope scope(policy);
    const Tensor x = random(*d, {36, 17}, 1, false), seed = random(*d, {36, 17}, 2, false);
    Tensor bias = random(*d, {17}, 3, true);
    int calls = 0;
    const auto f = [&calls](std::span<const Tensor> in) -> TensorList {
      ++calls;
      return {ops::tanh(in[0])};
    };
    const Tensor h = block(f, {x})[0];
    EXPECT_FALSE(h.requires_grad());
    autograd::backward(ops::layer_norm(h, {}, bias, 1e-5), seed);
    EXPECT_EQ(calls, 1);
    gradients[policy == CheckpointPolicy::block] = to_doubles(autograd::grad_of(bias));
  }
  EXPECT_EQ(gradients[0], gradients[1]);
}

// Each output as without checkpointing: with a gradient, without one, an input, a captured parameter, one tensor
// twice, a view of an input.
TEST(Segments, OutputsOfEveryKind) {
  std::vector<std::vector<double>> gradients[2];
  for (CheckpointPolicy policy : {CheckpointPolicy::none, CheckpointPolicy::block}) {
    auto d = make_device(DeviceKind::cpu);
    const autograd::CheckpointScope scope(policy);
    const Tensor data = random(*d, {3, 4}, 1, false);
    Tensor x = random(*d, {3, 4}, 2, true), w = random(*d, {3, 4}, 3, true);
    const auto f = [w](std::span<const Tensor> in) -> TensorList {
      const Tensor y = ops::mul(in[0], w);
      return {y, ops::tanh(in[1]), in[0], w, y, ops::reshape(in[0], {4, 3}), ops::tanh(y.detached())};
    };
    const TensorList out = block(f, {x, data});
    std::vector<bool> needs;
    for (const Tensor& t : out) needs.push_back(t.requires_grad());
    EXPECT_EQ(needs, (std::vector<bool>{true, false, true, true, true, true, false})) << name_of(policy);
    Tensor sum = ops::mul(out[0], out[1]);
    for (size_t i = 2; i < out.size(); ++i)
      sum = ops::add(ops::mul(ops::tanh(sum), ops::reshape(out[i], {3, 4})), out[0]);
    autograd::backward(sum, random(*d, {3, 4}, 9, false));
    for (const Tensor& t : {x, w})
      gradients[policy == CheckpointPolicy::block].push_back(to_doubles(autograd::grad_of(t)));
  }
  EXPECT_EQ(gradients[0], gradients[1]);
}

// The segment reads its own output: a hook on it sees that gradient too, whether or not another arrives outside.
TEST(Segments, AHookOnAnOutputSeesWhatArrivesInside) {
  for (CheckpointPolicy policy : {CheckpointPolicy::none, CheckpointPolicy::block})
    for (bool outside : {false, true}) {
      auto d = make_device(DeviceKind::cpu);
      const autograd::CheckpointScope scope(policy);
      Tensor x = random(*d, {4}, 1, true);
      const auto f = [](std::span<const Tensor> in) -> TensorList {
        const Tensor y = ops::scale(in[0], 3.0);
        return {y, ops::scale(y, 2.0)};
      };
      TensorList out = block(f, {x});
      int calls = 0;
      autograd::add_grad_hook(out[0], [&calls](const Tensor& g) {
        ++calls;
        return ops::scale(g, 10.0);
      });
      Tensor loss = ops::sum_all(outside ? ops::add(out[0], out[1]) : out[1]);
      out.clear();  // the hook stays
      autograd::backward(loss);
      EXPECT_EQ(calls, 1) << name_of(policy);
      EXPECT_EQ(to_doubles(autograd::grad_of(x)), std::vector<double>(4, outside ? 90.0 : 60.0))
          << name_of(policy);
    }
}

TEST(Segments, OneInsideAnotherTwiceUsedAndUnused) {
  std::vector<double> gradients[2];
  for (CheckpointPolicy policy : {CheckpointPolicy::none, CheckpointPolicy::block}) {
    auto d = make_device(DeviceKind::cpu);
    const autograd::CheckpointScope scope(policy);
    Tensor x = random(*d, {3, 4}, 1, true);
    const SegmentFn inner = [](std::span<const Tensor> in) -> TensorList { return {ops::silu(in[0])}; };
    const SegmentFn outer = [&inner](std::span<const Tensor> in) -> TensorList {
      const Tensor a = block(inner, {in[0]})[0];
      return {ops::mul(a, block(inner, {a})[0]), a};
    };
    const TensorList first = block(outer, {x}), second = block(outer, {first[0]});
    const TensorList unused = block(outer, {second[0]});
    autograd::backward(ops::add(ops::mul(second[0], first[1]), second[1]), random(*d, {3, 4}, 9, false));
    gradients[policy == CheckpointPolicy::block] = to_doubles(autograd::grad_of(x));
  }
  EXPECT_EQ(gradients[0], gradients[1]);
}

// Run again with the random numbers and the precision they ran with, also where backward stands outside.
TEST(Segments, AreRunAgainAsTheyRan) {
  std::vector<double> gradients[2];
  for (CheckpointPolicy policy : {CheckpointPolicy::none, CheckpointPolicy::block}) {
    auto d = make_device(DeviceKind::cpu);
    Tensor x = random(*d, {6, 8}, 1, true), w = random(*d, {8, 8}, 2, true), out;
    autograd::grad_state().generator = {.seed = 5, .next_stream = 40};
    const auto f = [w](std::span<const Tensor> in) -> TensorList {
      autograd::Generator& g = autograd::grad_state().generator;
      return {ops::dropout(ops::linear(in[0], w), 0.5, {g.seed, g.next_stream++}, {})};
    };
    {
      const autograd::CheckpointScope scope(policy);
      const autograd::AutocastScope low(DType::bf16);
      out = block(f, {block(f, {x})[0]})[0];
    }
    EXPECT_EQ(out.dtype(), DType::bf16);
    EXPECT_EQ(autograd::grad_state().generator.next_stream, 42u);
    autograd::backward(ops::sum_all(ops::mul(out, out)));
    EXPECT_EQ(autograd::grad_state().generator.next_stream, 42u);
    for (const Tensor& t : {x, w})
      for (double v : to_doubles(autograd::grad_of(t)))
        gradients[policy == CheckpointPolicy::block].push_back(v);
  }
  EXPECT_EQ(gradients[0], gradients[1]);
}

TEST(Segments, ANoGradRegionInsideCutsTheGradient) {
  for (CheckpointPolicy policy : {CheckpointPolicy::none, CheckpointPolicy::block}) {
    auto d = make_device(DeviceKind::cpu);
    const autograd::CheckpointScope scope(policy);
    Tensor x = random(*d, {4}, 1, true);
    const auto f = [](std::span<const Tensor> in) -> TensorList {
      Tensor cut;
      {
        const autograd::NoGrad no_grad;
        cut = ops::tanh(in[0]);
      }
      return {cut, ops::mul(cut, in[0])};
    };
    const TensorList out = block(f, {x});
    EXPECT_FALSE(out[0].requires_grad()) << name_of(policy);
    autograd::backward(ops::sum_all(ops::add(out[0], out[1])));
    EXPECT_EQ(to_doubles(autograd::grad_of(x)), to_doubles(out[0])) << name_of(policy);
  }
}

// What a segment read is checked like what an op kept: inputs, captured parameters, and a weight of which only
// the cast was read.
TEST(Segments, AWriteToWhatTheyReadIsNoticed) {
  for (CheckpointPolicy policy :
       {CheckpointPolicy::none, CheckpointPolicy::selective, CheckpointPolicy::block}) {
    for (int written : {0, 1, 2}) {
      auto d = make_device(DeviceKind::cpu);
      const autograd::CheckpointScope scope(policy);
      Tensor x = random(*d, {2, 4}, 1, true), w = random(*d, {2, 4}, 2, true),
             captured = random(*d, {2, 4}, 3, false);
      const auto f = [w, captured](std::span<const Tensor> in) -> TensorList {
        return {ops::mul(ops::mul(in[0], w), captured)};
      };
      const Tensor loss = ops::sum_all(block(f, {x})[0]);
      ops::fill((written == 0 ? x : written == 1 ? w : captured).detached(), 100.0);
      EXPECT_THROW(autograd::backward(loss), Error) << name_of(policy) << ", written " << written;
      EXPECT_FALSE(autograd::grad_of(x).defined());
    }
  }
}

TEST(Segments, AWriteToAWeightWhoseCastTheyReadIsNoticed) {
  auto d = make_device(DeviceKind::cpu);
  const autograd::CheckpointScope scope(CheckpointPolicy::block);
  const autograd::AutocastScope low(DType::bf16);
  Tensor x = random(*d, {2, 4}, 1, true), w = random(*d, {4, 4}, 2, true);
  const Tensor weights[] = {w};
  const autograd::WeightCasts held(weights);  // the segment reads this cast, not the weight
  const Tensor out =
      block([w](std::span<const Tensor> in) -> TensorList { return {ops::linear(in[0], w)}; }, {x})[0];
  ops::fill(w.detached(), 3.0);
  EXPECT_THROW(autograd::backward(ops::sum_all(out)), Error);
}

TEST(Segments, ASegmentThatWritesToWhatItReadIsRefusedInBackward) {
  auto d = make_device(DeviceKind::cpu);
  const autograd::CheckpointScope scope(CheckpointPolicy::block);
  Tensor x = random(*d, {4}, 1, true), statistics = random(*d, {4}, 2, false);
  const auto f = [statistics](std::span<const Tensor> in) mutable -> TensorList {
    const Tensor y = ops::mul(in[0], statistics);
    ops::accumulate(statistics, in[0].detached());
    return {y};
  };
  const Tensor loss = ops::sum_all(block(f, {x})[0]);
  EXPECT_THROW(autograd::backward(loss), Error);
}

TEST(Segments, BackwardInsideAFirstRunIsAClearError) {
  auto d = make_device(DeviceKind::cpu);
  const autograd::CheckpointScope scope(CheckpointPolicy::block);
  Tensor x = random(*d, {4}, 1, true);
  const auto f = [](std::span<const Tensor> in) -> TensorList {
    autograd::backward(ops::sum_all(ops::tanh(in[0])));
    return {ops::tanh(in[0])};
  };
  EXPECT_THROW(block(f, {x}), Error);
}

}  // namespace
}  // namespace reckon::testing
