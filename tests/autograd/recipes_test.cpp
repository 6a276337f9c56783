// Checkpoint policy `selective`: outputs of cheap ops are rebuilt from their inputs. Whatever a program does with
// its tensors, the gradients are those of `none`, and what nobody saved holds nothing.
#include <gtest/gtest.h>

#include "autograd/autocast.h"
#include "autograd/engine.h"
#include "autograd/grad_mode.h"
#include "autograd/node.h"
#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/concat/concat.h"
#include "ops/copy_into/copy_into.h"
#include "ops/fill/fill.h"
#include "ops/linear/linear.h"
#include "ops/sum/sum.h"
#include "ops/view/view.h"
#include "tests/autograd/leaf.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

using autograd::CheckpointPolicy;

// The gradient of w that `program(x, w)` has under each of two policies. x is 2 and w is 3.
template <class Program>
void expect_gradient(double expected, Program program) {
  for (CheckpointPolicy policy : {CheckpointPolicy::none, CheckpointPolicy::selective}) {
    auto d = make_device(DeviceKind::cpu);
    {
      const autograd::CheckpointScope scope(policy);
      Tensor x = leaf(*d, {4}, 2.0), w = leaf(*d, {4}, 3.0);
      autograd::backward(program(x, w));
      EXPECT_EQ(to_doubles(autograd::grad_of(w)), std::vector<double>(4, expected))
          << autograd::name_of(policy);
    }
    EXPECT_EQ(d->arena().stats().requested, 0u) << autograd::name_of(policy);
  }
}

TEST(Recipes, AnOutputSavedAgainAfterItsOnlySaverWent) {
  expect_gradient(6, [](const Tensor& x, const Tensor& w) {
    const Tensor y = ops::scale(x, 3.0);
    { const Tensor dropped = ops::mul(y, w); }
    return ops::sum_all(ops::mul(y, w));
  });
}

TEST(Recipes, AnOutputOverwrittenBeforeItIsSaved) {
  expect_gradient(5, [](const Tensor& x, const Tensor& w) {
    const Tensor y = ops::scale(x, 1.0);
    ops::fill(y.detached(), 5.0);
    return ops::sum_all(ops::mul(y, w));
  });
}

TEST(Recipes, AnInputOverwrittenBeforeTheOutputIsSaved) {
  expect_gradient(2, [](const Tensor& x, const Tensor& w) {
    const Tensor y = ops::scale(x, 1.0);
    ops::fill(x.detached(), 7.0);
    return ops::sum_all(ops::mul(y, w));
  });
}

TEST(Recipes, AnInputOverwrittenAfterTheOutputWasSaved) {
  expect_gradient(2, [](const Tensor& x, const Tensor& w) {
    const Tensor loss = ops::sum_all(ops::mul(ops::scale(x, 1.0), w));
    ops::fill(x.detached(), 7.0);
    return loss;
  });
}

TEST(Recipes, AnInputOverwrittenFromTheHost) {
  expect_gradient(2, [](const Tensor& x, const Tensor& w) {
    const Tensor loss = ops::sum_all(ops::mul(ops::scale(x, 1.0), w));
    const std::vector<float> next(4, 7.0f);
    x.copy_from_host(next.data(), x.bytes());
    return loss;
  });
}

TEST(Recipes, AnInputOverwrittenFarBelowAChain) {
  expect_gradient(-8, [](const Tensor& x, const Tensor& w) {
    Tensor y = ops::scale(x, 2.0);
    y = ops::affine(ops::reshape(y, {2, 2}), -1.0, 0.0);
    y = ops::scale(ops::reshape(ops::transpose(y, 0, 1), {4}), 2.0);
    const Tensor loss = ops::sum_all(ops::mul(y, w));
    y = {};
    ops::fill(x.detached(), 100.0);
    return loss;
  });
}

TEST(Recipes, WhatAViewOfAnOverwrittenInputBecame) {
  expect_gradient(9, [](const Tensor& x, const Tensor& w) {
    const Tensor made = ops::add(x, w);  // 5, not cheap, so the view of it keeps it
    const Tensor y = ops::affine(ops::reshape(made, {2, 2}), 1.0, 1.0);
    const Tensor loss = ops::sum_all(ops::mul(ops::reshape(y, {4}), w));
    ops::fill(made.detached(), -9.0);
    return loss;
  });
}

TEST(Recipes, TheLastUserLetsGoOfTheInputs) {
  auto d = make_device(DeviceKind::meta);
  const autograd::CheckpointScope scope(CheckpointPolicy::selective);
  Tensor x = leaf(*d, {1000}, 1.0), w = leaf(*d, {1000}, 1.0);
  Tensor input = ops::add(x, x);
  const Tensor output = ops::scale(input, 2.0);
  {
    const Tensor saver = ops::mul(output, w);
    input = {};
    EXPECT_EQ(d->arena().live_bytes(Category::saved), 4000u) << "the input, for whoever rebuilds the output";
  }
  EXPECT_EQ(d->arena().live_bytes(Category::saved), 0u);
  EXPECT_EQ(d->arena().live_bytes(Category::transient), 4000u) << "the output alone";
}

TEST(Recipes, TwoInputsOneOfThemGone) {
  expect_gradient(8, [](const Tensor& x, const Tensor& w) {
    Tensor base = ops::add(x, x), y = ops::scale(base, 2.0);
    base = {};
    return ops::sum_all(ops::mul(y, w));
  });
}

TEST(Recipes, ASliceWrittenThroughItsBase) {
  expect_gradient(4, [](const Tensor& x, const Tensor& w) {
    const Tensor whole = ops::concat(std::vector<Tensor>{x, x}, 0);
    const Tensor y = ops::scale(ops::slice(whole, 0, 4, 8), 2.0);
    const Tensor loss = ops::sum_all(ops::mul(y, w));
    ops::copy_into(whole.detached(), ops::scale(whole, 5.0).detached());
    return loss;
  });
}

TEST(Recipes, WhatAKeptViewShowsIsNoticedWhenOverwritten) {
  for (CheckpointPolicy policy : {CheckpointPolicy::none, CheckpointPolicy::selective}) {
    auto d = make_device(DeviceKind::cpu);
    const autograd::CheckpointScope scope(policy);
    Tensor x = leaf(*d, {4}, 2.0), w = leaf(*d, {2, 2}, 3.0);
    const Tensor loss = ops::sum_all(ops::mul(ops::reshape(x, {2, 2}), w));
    ops::fill(x.detached(), 7.0);
    EXPECT_THROW(autograd::backward(loss), Error) << autograd::name_of(policy);
    EXPECT_FALSE(autograd::grad_of(w).defined());
  }
}

TEST(Recipes, WhatNobodySavesHoldsNothing) {
  auto d = make_device(DeviceKind::meta);
  const autograd::CheckpointScope scope(CheckpointPolicy::selective);
  Tensor x = leaf(*d, {1000}, 1.0);
  Tensor input = ops::add(x, x), output = ops::scale(input, 2.0);
  input = {};
  EXPECT_EQ(d->arena().live_bytes(Category::transient), 4000u);
  EXPECT_EQ(d->arena().live_bytes(Category::saved), 0u);
  output = {};
  EXPECT_EQ(d->arena().live_bytes(Category::transient), 0u);
}

// Chains whose ops keep nothing: `none` frees every link as the next one is made.
TEST(Recipes, AChainThatIsNotSavedHasThePeakOfNone) {
  const auto peak = [](CheckpointPolicy policy, int kind) {
    auto d = make_device(DeviceKind::meta);
    const autograd::CheckpointScope scope(policy);
    Tensor x = leaf(*d, {1000}, 1.0), h = x;
    for (int i = 0; i < 8; ++i)
      h = kind == 0   ? ops::scale(h, 1.1)
          : kind == 1 ? ops::affine(ops::cast(ops::cast(h, DType::bf16), DType::f32), 1.0, 0.5)
                      : ops::sub(ops::scale(h, 2.0), x);
    const Tensor loss = ops::sum_all(h);
    h = {};
    autograd::backward(loss);
    EXPECT_EQ(d->arena().live_bytes(Category::transient), loss.bytes());
    return d->arena().stats().peak_requested;
  };
  for (int kind : {0, 1, 2})
    EXPECT_EQ(peak(CheckpointPolicy::selective, kind), peak(CheckpointPolicy::none, kind)) << "chain " << kind;
}

TEST(Recipes, AnOutputRebuiltAheadOfAWriteIsBookedAsSaved) {
  auto d = make_device(DeviceKind::meta);
  const autograd::CheckpointScope scope(CheckpointPolicy::selective);
  Tensor x = leaf(*d, {1000}, 2.0), w = leaf(*d, {1000}, 3.0);
  Tensor base = ops::add(x, x);
  Tensor loss = ops::sum_all(ops::mul(ops::scale(base, 1.0), w));
  EXPECT_EQ(d->arena().live_bytes(Category::saved), 4000u) << "the input of the recipe";
  ops::fill(base.detached(), 7.0);
  EXPECT_EQ(d->arena().live_bytes(Category::saved), 4000u) << "the output";
  EXPECT_EQ(d->arena().live_bytes(Category::transient), 4000u + loss.bytes())
      << "the input, that base still holds";
  loss = {};
  EXPECT_EQ(d->arena().live_bytes(Category::saved), 0u);
}

// Every link is two views of the one before: asking each way to the bottom would take 2^60 questions.
TEST(Recipes, AChainWithManyWaysThroughItIsWalkedOnce) {
  expect_gradient(2, [](const Tensor& x, const Tensor& w) {
    Tensor h = x;
    for (int i = 0; i < 40; ++i)
      h = ops::concat(std::vector<Tensor>{ops::slice(h, 0, 0, 2), ops::slice(h, 0, 2, 4)}, 0);
    return ops::sum_all(ops::mul(h, w));
  });
}

TEST(Graph, ALongChainIsDifferentiatedAndDroppedWithoutDeepRecursion) {
  constexpr int kLinks = 150'000;
  for (CheckpointPolicy policy : {CheckpointPolicy::none, CheckpointPolicy::selective}) {
    for (bool keeps : {false, true}) {
      auto d = make_device(DeviceKind::meta);
      const autograd::CheckpointScope scope(policy);
      Tensor x = leaf(*d, {1}, 1.0), h = x;
      const int links = keeps ? kLinks / 5 : kLinks;
      for (int i = 0; i < links; ++i) h = keeps ? ops::mul(h, x) : ops::scale(h, 1.0);
      Tensor loss = ops::sum_all(h);
      h = {};
      autograd::backward(loss);
      EXPECT_TRUE(autograd::grad_of(x).defined());
      Tensor dropped = x;
      for (int i = 0; i < links; ++i) dropped = keeps ? ops::mul(dropped, x) : ops::scale(dropped, 1.0);
      dropped = {};
      loss = {};
      EXPECT_EQ(d->arena().live_bytes(Category::saved), 0u);
    }
  }
}

TEST(CastCache, AWeightThatWasWrittenIsCastAnew) {
  auto d = make_device(DeviceKind::cpu);
  Tensor w = leaf(*d, {8, 8}, 1.0), x = leaf(*d, {2, 8}, 1.0);
  const auto run = [&] {
    const autograd::AutocastScope low(DType::bf16);
    return ops::linear(x, w);
  };
  const Tensor kept = run();
  ops::fill(w.detached(), 3.0);
  EXPECT_EQ(to_doubles(ops::cast(run(), DType::f32))[0], 24.0);
  const std::vector<float> next(64, 4.0f);
  w.copy_from_host(next.data(), w.bytes());
  EXPECT_EQ(to_doubles(ops::cast(run(), DType::f32))[0], 32.0);
}

TEST(CastCache, ViewsOfOneStorageAreCastApart) {
  auto d = make_device(DeviceKind::cpu);
  Tensor whole = leaf(*d, {4, 8}, 1.0), x = leaf(*d, {2, 8}, 1.0);
  const auto half = [&](int64_t first) {
    Tensor t = whole.sliced(0, first, first + 2);
    autograd::set_requires_grad(t);
    return t;
  };
  Tensor low_half = half(0), high_half = half(2);
  ops::fill(high_half.detached(), 2.0);
  const autograd::AutocastScope low(DType::bf16);
  const Tensor a = ops::linear(x, low_half), b = ops::linear(x, high_half), again = ops::linear(x, low_half);
  EXPECT_EQ(to_doubles(ops::cast(a, DType::f32))[0], 8.0);
  EXPECT_EQ(to_doubles(ops::cast(b, DType::f32))[0], 16.0);
  EXPECT_EQ(to_doubles(ops::cast(again, DType::f32))[0], 8.0);
}

}  // namespace
}  // namespace reckon::testing
