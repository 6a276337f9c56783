// The optimizer over a parameter set: every parameter's updates are counted for itself.
#include "models/train/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/engine.h"
#include "autograd/fusion.h"
#include "autograd/node.h"
#include "models/nn/parameters.h"
#include "ops/fill/fill.h"
#include "tests/support/event_log.h"
#include "tests/support/op_case_runner.h"

namespace reckon::models {
namespace {

using autograd::FusionSet;
using testing::EventLog;
using testing::make_device;
using testing::to_doubles;

struct Two {
  explicit Two(Device& device) : first(make(device)), second(make(device)) {
    set.add("first", first);
    set.add("second", second);
  }
  static Tensor make(Device& device) {
    Tensor t = ops::full(device, {2, 2}, DType::f32, 1.0, Category::parameter, "p");
    autograd::set_requires_grad(t);
    return t;
  }
  static void gradient(const Tensor& t, double value) {
    autograd::backward(t, ops::full(t.device(), t.shape(), t.dtype(), value, Category::transient));
  }
  Tensor first, second;
  ParameterSet set;
};

OptimizerOptions plain_adam(bool scale_loss) {
  return {.beta1 = 0.9, .beta2 = 0.999, .weight_decay = 0, .clip = 0, .scale_loss = scale_loss};
}

const std::vector<FusionSet>& forms() {
  static const std::vector<FusionSet> all{{}, FusionSet::all()};
  return all;
}

// One gradient of 1 moves a parameter by lr in its first update, whenever that comes.
TEST(OptimizerCounts, ALateFirstGradientIsAFirstUpdate) {
  for (const FusionSet& form : forms())
    for (const bool scaled : {false, true}) {
      const autograd::FusionScope fusions(form);
      auto device = make_device(DeviceKind::cpu);
      Two p(*device);
      Optimizer optimizer(p.set, plain_adam(scaled));
      if (scaled) optimizer.loss_scale();
      for (int step = 0; step < 10; ++step) {
        const double scale = scaled ? to_doubles(optimizer.loss_scale())[0] : 1;
        Two::gradient(p.first, scale);
        if (step == 9) Two::gradient(p.second, scale);
        optimizer.step(step, 0.1);
      }
      EXPECT_NEAR(1 - to_doubles(p.second)[0], 0.1, 1e-6);
      EXPECT_NEAR(1 - to_doubles(p.first)[0], 1.0, 1e-5);
      EXPECT_EQ(optimizer.updates(), (std::vector<int64_t>{10, 1}));
    }
}

TEST(OptimizerCounts, AStepThatTheLossScaleSkipsIsNoUpdate) {
  for (const FusionSet& form : forms()) {
    const autograd::FusionScope fusions(form);
    auto device = make_device(DeviceKind::cpu);
    Two p(*device);
    Optimizer optimizer(p.set, plain_adam(true));
    optimizer.loss_scale();
    for (int step = 0; step < 6; ++step) {
      const double scale = to_doubles(optimizer.loss_scale())[0];
      Two::gradient(p.first, step < 5 ? INFINITY : scale);
      Two::gradient(p.second, step == 2 ? INFINITY : scale);
      optimizer.step(step, 0.1);
    }
    EXPECT_NEAR(1 - to_doubles(p.first)[0], 0.1, 1e-6);
    EXPECT_NEAR(1 - to_doubles(p.second)[0], 0.1, 1e-6) << "an infinity anywhere skips all of the step";
    EXPECT_EQ(optimizer.updates(), (std::vector<int64_t>{1, 1}));
  }
}

TEST(OptimizerCounts, SgdMovesByItsOwnMomentum) {
  auto device = make_device(DeviceKind::cpu);
  Two p(*device);
  Optimizer optimizer(p.set, {.kind = OptimizerKind::sgd, .weight_decay = 0, .momentum = 0.9, .clip = 0});
  for (int step = 0; step < 4; ++step) {
    Two::gradient(p.first, 1);
    if (step > 1) Two::gradient(p.second, 1);
    optimizer.step(step, 0.1);
  }
  EXPECT_NEAR(1 - to_doubles(p.second)[0], 0.1 * (1 + 1.9), 1e-6);
  EXPECT_NEAR(1 - to_doubles(p.first)[0], 0.1 * (1 + 1.9 + 2.71 + 3.439), 1e-6);
}

TEST(OptimizerCounts, ADryRunMakesTheSameCallsAndHoldsTheCounters) {
  for (const FusionSet& form : forms())
    for (const bool scaled : {false, true}) {
      const autograd::FusionScope fusions(form);
      std::vector<Event> logs[2];
      for (int meta = 0; meta < 2; ++meta) {
        auto device = make_device(meta ? DeviceKind::meta : DeviceKind::cpu);
        EventLog log;
        device->add_sink(&log);
        {
          Two p(*device);
          Optimizer optimizer(p.set, plain_adam(scaled));
          if (scaled) optimizer.loss_scale();
          for (int step = 0; step < 4; ++step) {
            if (step != 1) Two::gradient(p.first, 1);
            if (step > 0) Two::gradient(p.second, INFINITY);
            optimizer.step(step, 0.1);
          }
          const size_t moments = 2 * 2 * 4 * sizeof(float);
          EXPECT_EQ(device->arena().live_bytes(Category::optimizer), moments + (scaled ? 4 + 8 + 2 * 4 : 0));
        }
        logs[meta] = log.events;
        device->remove_sink(&log);
      }
      EXPECT_EQ(testing::first_difference(logs[0], logs[1]), "");
    }
}

TEST(OptimizerCounts, AreSetAndReadBack) {
  for (const bool scaled : {false, true}) {
    auto device = make_device(DeviceKind::cpu);
    Two p(*device);
    Optimizer optimizer(p.set, plain_adam(scaled));
    const std::vector<int64_t> counts{41, 3};
    optimizer.set_updates(counts);
    EXPECT_EQ(optimizer.updates(), counts);
    EXPECT_THROW(optimizer.set_updates({counts.data(), 1}), Error);
  }
}

}  // namespace
}  // namespace reckon::models
