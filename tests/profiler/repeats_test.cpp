// Repeated work is found from identities alone, and only where it is.
#include "profiler/repeats.h"

#include <gtest/gtest.h>

#include "autograd/node.h"
#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/dropout/dropout.h"
#include "ops/fill/fill.h"
#include "ops/linear/linear.h"
#include "ops/view/view.h"
#include "runtime/events/scope.h"
#include "tests/support/event_log.h"

namespace reckon::profiler {
namespace {

using testing::EventLog;

class Repeats : public ::testing::Test {
 protected:
  Device device{DeviceKind::cpu, DeviceSpec::this_machine()};
  EventLog log;
  Tensor x, w;

  void SetUp() override {
    device.add_sink(&log);
    x = Tensor::empty(device, {4, 8}, DType::f32, Category::input, "x");
    w = Tensor::empty(device, {8, 8}, DType::f32, Category::parameter, "w");
    ops::fill(x, 1);
    ops::fill(w, 0.5);
    autograd::set_requires_grad(w);
  }

  Tensor module(const Tensor& in, double factor = 2) {
    ModuleScope scope("conditioner");
    const Tensor h = [&] {
      ModuleScope inner("layer");
      return ops::linear(in, w);
    }();
    return ops::scale(ops::silu(ops::slice(h, 0, 0, 3)), factor);  // a view repeats like anything else
  }
  std::vector<RepeatedSubgraph> found() const { return find_repeated_subgraphs(log.events); }
};

TEST_F(Repeats, AModuleRunThreeTimesOnOneInputIsFoundOnceWithItsBytes) {
  PhaseScope phase(Phase::forward);
  std::vector<Tensor> kept;
  for (int i = 0; i < 3; ++i) {
    kept.push_back(module(x));
    ModuleScope scope("consumer");
    kept.push_back(ops::affine(kept.back(), 1.0, i));
  }
  const auto r = found();
  ASSERT_EQ(r.size(), 1u)
      << "the consumer adds another number every time; the layer is part of the conditioner";
  EXPECT_EQ(r[0].module, "conditioner");
  EXPECT_EQ(r[0].executions, 3);
  EXPECT_EQ(r[0].ops, 4);
  EXPECT_EQ(r[0].made_bytes, (4 + 3 + 3) * 8 * 4);
  EXPECT_EQ(r[0].kept_bytes, 3 * 4 * 8 * 4) << "silu keeps its input in every execution";
  EXPECT_EQ(r[0].spare_kept_bytes(), 2 * 4 * 8 * 4);
  EXPECT_EQ(r[0].flops, 2 * 4 * 8 * 8 + 3 * 3 * 8 + 3 * 8);
}

TEST_F(Repeats, BackToBackExecutionsAreToldApart) {
  PhaseScope phase(Phase::forward);
  const Tensor a = module(x), b = module(x);
  const auto r = found();
  ASSERT_EQ(r.size(), 1u);
  EXPECT_EQ(r[0].executions, 2);
}

TEST_F(Repeats, OtherInputsAttributesVersionsOrRandomNumbersAreNoRepeat) {
  PhaseScope phase(Phase::forward);
  const Tensor a = module(x, 2);
  const Tensor b = module(a, 2);
  ops::fill(x, 3);  // the same block, another value
  const Tensor c = module(x, 2);
  Tensor keep[2];
  for (uint64_t i = 0; i < 2; ++i) {
    ModuleScope scope("dropout");
    keep[i] = ops::dropout(x, 0.5, ops::DropoutKey{1, i});
  }
  EXPECT_TRUE(found().empty());
}

TEST_F(Repeats, OnlyThePartOfAModuleThatRepeatsIsNamed) {
  PhaseScope phase(Phase::forward);
  const Tensor a = module(x, 2), b = module(x, 5);
  const auto r = found();
  ASSERT_EQ(r.size(), 1u);
  EXPECT_EQ(r[0].module, "conditioner.layer");
}

TEST_F(Repeats, RecomputationIsNoRepeat) {
  Tensor a, b;
  {
    PhaseScope phase(Phase::forward);
    a = module(x);
  }
  PhaseScope phase(Phase::recompute);
  b = module(x);
  EXPECT_TRUE(found().empty());
}

}  // namespace
}  // namespace reckon::profiler
