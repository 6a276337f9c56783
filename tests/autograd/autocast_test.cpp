// Mixed precision: how often weights are cast, and in which type their gradients arrive.
#include "autograd/autocast.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "autograd/engine.h"
#include "autograd/node.h"
#include "ops/fill/fill.h"
#include "ops/linear/linear.h"
#include "ops/sum/sum.h"
#include "ops/view/view.h"
#include "tests/support/event_log.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

Tensor weight(Device& d, const Shape& shape, uint64_t seed) {
  Tensor t = Tensor::empty(d, shape, DType::f32, Category::parameter, "weight");
  ops::fill_random(t, ops::Distribution::normal, 0, 1, seed, 0);
  autograd::set_requires_grad(t);
  return t;
}

int64_t launches_of(const EventLog& log, std::string_view kernel) {
  return std::count_if(log.events.begin(), log.events.end(), [&](const Event& e) {
    return e.kind == EventKind::launched && name_of(e.label) == kernel;
  });
}

struct TwoLayers {
  std::unique_ptr<Device> device = make_device(DeviceKind::cpu);
  Tensor w1 = weight(*device, {6, 5}, 1), w2 = weight(*device, {3, 6}, 2),
         x = Tensor::empty(*device, {4, 5}, DType::bf16, Category::input, "x");
  EventLog log;

  // Both layers twice, as a block that shares its weights.
  void run(bool in_one_launch) {
    ops::fill_random(x, ops::Distribution::normal, 0, 1, 3, 0);
    device->add_sink(&log);
    {
      const autograd::AutocastScope precision(DType::bf16);
      const std::vector<Tensor> weights{w1, w2};
      const autograd::WeightCasts casts(in_one_launch ? std::span<const Tensor>(weights)
                                                      : std::span<const Tensor>());
      Tensor sum = ops::linear(ops::linear(x, w1), w2);
      const Tensor again = ops::linear(ops::linear(x, w1), w2);
      const Tensor ones = ops::full(*device, sum.shape(), DType::bf16, 1, Category::transient, "seed");
      const Tensor roots[2] = {sum, again}, seeds[2] = {ones, ones};
      autograd::backward(roots, seeds);
    }
    device->remove_sink(&log);
  }
};

TEST(Autocast, ABlocksWeightsAreCastOnceInOneLaunch) {
  TwoLayers one_by_one, together;
  one_by_one.run(false);
  together.run(true);
  EXPECT_EQ(launches_of(one_by_one.log, "cast"), 3)
      << "nothing keeps the first layer's, whose input needs no gradient, until its second use";
  EXPECT_EQ(launches_of(together.log, "cast"), 0);
  EXPECT_EQ(launches_of(together.log, "cast_all"), 1);
  EXPECT_EQ(to_doubles(autograd::grad_of(together.w1)), to_doubles(autograd::grad_of(one_by_one.w1)));
  EXPECT_EQ(to_doubles(autograd::grad_of(together.w2)), to_doubles(autograd::grad_of(one_by_one.w2)));
}

TEST(Autocast, CastsEndWithTheBlockThatMadeThem) {
  auto d = make_device(DeviceKind::meta);
  const std::vector<Tensor> weights{weight(*d, {100, 10}, 1)};
  const autograd::AutocastScope precision(DType::bf16);
  {
    const autograd::WeightCasts outer(weights);
    const autograd::WeightCasts inner(weights);
    EXPECT_EQ(d->arena().live_bytes(Category::cast), 2000u);
  }
  EXPECT_EQ(d->arena().live_bytes(Category::cast), 0u);
}

TEST(Autocast, FrozenWeightsShareTheirCastsToo) {
  TwoLayers frozen;
  autograd::set_requires_grad(frozen.w1, false);
  frozen.run(true);
  EXPECT_EQ(launches_of(frozen.log, "cast") + launches_of(frozen.log, "cast_all"), 1);
  EXPECT_FALSE(autograd::grad_of(frozen.w1).defined());
}

// 257 ones: bf16 would hold 256.
constexpr int64_t kRows = 257;

TEST(Autocast, AWeightsGradientIsNeverRoundedToTheLowType) {
  auto d = make_device(DeviceKind::cpu);
  const Tensor x = ops::full(*d, {kRows, 2}, DType::f32, 1, Category::input, "x"),
               seed = ops::full(*d, {kRows, 3}, DType::bf16, 1, Category::input, "seed");
  Tensor w = weight(*d, {3, 2}, 1), b = weight(*d, {3}, 2);
  const autograd::AutocastScope precision(DType::bf16);
  const Tensor y = ops::linear(x, w, b);
  ASSERT_EQ(y.dtype(), DType::bf16);
  autograd::backward(y, seed);
  EXPECT_EQ(autograd::grad_of(w).dtype(), DType::f32);
  EXPECT_EQ(to_doubles(autograd::grad_of(w)), std::vector<double>(6, kRows));
  EXPECT_EQ(to_doubles(autograd::grad_of(b)), std::vector<double>(3, kRows));
}

TEST(Autocast, NorIsThatOfASliceOfTheCastWeight) {
  auto d = make_device(DeviceKind::cpu);
  const Tensor x = ops::full(*d, {kRows, 2}, DType::bf16, 1, Category::input, "x"),
               seed = ops::full(*d, {kRows, 3}, DType::bf16, 1, Category::input, "seed");
  Tensor w = weight(*d, {4, 2}, 1);
  const autograd::AutocastScope precision(DType::bf16);
  EventLog log;
  d->add_sink(&log);
  autograd::backward(ops::linear(x, ops::slice(autograd::in_product_type(w), 0, 1, 4)), seed);
  d->remove_sink(&log);
  std::vector<double> expected(8, kRows);
  expected[0] = expected[1] = 0;
  EXPECT_EQ(to_doubles(autograd::grad_of(w)), expected);
  EXPECT_EQ(launches_of(log, "cast"), 1) << "the weight's, and none of its gradient";
}

TEST(Autocast, LeavesOfTheLowTypeGetTheirGradientInIt) {
  auto d = make_device(DeviceKind::cpu);
  Tensor w = ops::full(*d, {3, 2}, DType::bf16, 1, Category::parameter, "weight");
  autograd::set_requires_grad(w);
  const Tensor x = ops::full(*d, {kRows, 2}, DType::bf16, 1, Category::input, "x"),
               seed = ops::full(*d, {kRows, 3}, DType::bf16, 1, Category::input, "seed");
  autograd::backward(ops::linear(x, w), seed);
  EXPECT_EQ(autograd::grad_of(w).dtype(), DType::bf16);
  EXPECT_EQ(to_doubles(autograd::grad_of(w)), std::vector<double>(6, 256));
}

}  // namespace
}  // namespace reckon::testing
