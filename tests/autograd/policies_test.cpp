// A small network under every checkpoint policy and precision: same gradients bit for bit,
// same events on meta, nothing left.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/autocast.h"
#include "autograd/checkpoint.h"
#include "autograd/engine.h"
#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/fill/fill.h"
#include "ops/linear/linear.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/sum/sum.h"
#include "runtime/events/scope.h"
#include "tests/support/event_log.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

using autograd::Boundary;
using autograd::CheckpointPolicy;

struct Result {
  std::vector<Event> events;
  std::vector<std::vector<double>> gradients;
  double loss = 0;
  size_t peak = 0, transient_left = 0;
  int64_t saved_bytes = 0;
  Cost by_phase[kPhases];
};

constexpr int64_t kWidth = 24, kHidden = 40, kBlocks = 3;

Result train_step(DeviceKind kind, CheckpointPolicy policy, DType precision) {
  auto device = make_device(kind);
  EventLog log;
  device->add_sink(&log);
  Result r;
  {
    TensorList params;
    uint64_t stream = 0;
    const auto parameter = [&](Shape shape) {
      Tensor t = Tensor::empty(*device, shape, DType::f32, Category::parameter, "p");
      ops::fill_random(t, ops::Distribution::normal, shape.rank() == 1 ? 1.0 : 0.0, 0.2, 3, stream++);
      autograd::set_requires_grad(t);
      params.push_back(t);
      return t;
    };
    for (int64_t b = 0; b < kBlocks; ++b)
      parameter({kWidth}), parameter({kHidden, kWidth}), parameter({kWidth, kHidden}), parameter({kWidth});
    Tensor x = Tensor::empty(*device, {6, kWidth}, DType::f32, Category::input, "x");
    ops::fill_random(x, ops::Distribution::normal, 0, 1, 9, 1);
    autograd::set_requires_grad(x);
    {
      autograd::CheckpointScope scope(policy);
      autograd::AutocastScope cast(precision);
      PhaseScope phase(Phase::forward);
      Tensor h = x;
      for (int64_t b = 0; b < kBlocks; ++b) {
        ModuleScope module("block" + std::to_string(b));
        const auto branch = [&params, b](std::span<const Tensor> in) -> TensorList {
          // Uses its input twice, so that the order of additions is put to the test.
          const Tensor n = ops::rms_norm(in[0], params[4 * b], 1e-6);
          const Tensor u = ops::silu(ops::linear(n, params[4 * b + 1]));
          return {ops::mul(ops::linear(u, params[4 * b + 2], params[4 * b + 3]), in[0])};
        };
        const auto block = [branch](std::span<const Tensor> in) -> TensorList {
          return {ops::add(in[0], autograd::segment(Boundary::sublayer, branch, {in[0]})[0])};
        };
        h = autograd::segment(Boundary::block, block, {h})[0];
      }
      Tensor loss = ops::sum_all(ops::mul(h, h));
      h = {};
      for (const Event& e : log.events)
        r.saved_bytes += e.kind == EventKind::saved && e.category != Category::parameter     ? e.bytes
                         : e.kind == EventKind::unsaved && e.category != Category::parameter ? -e.bytes
                                                                                             : 0;
      autograd::backward(loss);
      if (kind == DeviceKind::cpu) r.loss = to_doubles(loss)[0];
    }
    params.push_back(x);
    if (kind == DeviceKind::cpu)
      for (const Tensor& p : params) r.gradients.push_back(to_doubles(autograd::grad_of(p)));
    r.peak = device->arena().stats().peak_requested;
    for (Category c : {Category::transient, Category::saved, Category::cast, Category::workspace})
      r.transient_left += device->arena().live_bytes(c);
  }
  EXPECT_EQ(device->arena().stats().requested, 0u);
  r.events = log.events;
  for (const Event& e : r.events)
    if (e.kind == EventKind::op_end) r.by_phase[static_cast<size_t>(e.phase)] += e.cost;
  return r;
}

constexpr CheckpointPolicy kPolicies[] = {CheckpointPolicy::none, CheckpointPolicy::selective,
                                          CheckpointPolicy::sublayer, CheckpointPolicy::block};

TEST(CheckpointPolicies, GradientsAreBitwiseEqualInEveryPrecision) {
  for (DType t : {DType::f32, DType::bf16, DType::f16}) {
    const Result base = train_step(DeviceKind::cpu, CheckpointPolicy::none, t);
    EXPECT_TRUE(std::isfinite(base.loss));
    for (CheckpointPolicy p : kPolicies) {
      const Result r = train_step(DeviceKind::cpu, p, t);
      EXPECT_EQ(r.gradients, base.gradients) << name_of(p) << " " << name_of(t);
      EXPECT_EQ(r.loss, base.loss);
    }
  }
}

TEST(CheckpointPolicies, MetaEmitsTheEventsOfTheRealRun) {
  for (DType t : {DType::f32, DType::bf16, DType::f16})
    for (CheckpointPolicy p : kPolicies)
      EXPECT_EQ(
          first_difference(train_step(DeviceKind::cpu, p, t).events, train_step(DeviceKind::meta, p, t).events),
          "")
          << name_of(p) << " " << name_of(t);
}

TEST(CheckpointPolicies, NothingTransientIsLeft) {
  for (CheckpointPolicy p : kPolicies)
    EXPECT_EQ(train_step(DeviceKind::meta, p, DType::bf16).transient_left, 0u);
}

TEST(CheckpointPolicies, RecomputeAddsExactlyOneForwardOfTheSegments) {
  const auto matmul = [](const Result& r, Phase p) { return r.by_phase[static_cast<size_t>(p)].matmul_flops; };
  const Result none = train_step(DeviceKind::meta, CheckpointPolicy::none, DType::f32);
  EXPECT_EQ(matmul(none, Phase::recompute), 0);
  EXPECT_EQ(matmul(none, Phase::backward), 2 * matmul(none, Phase::forward));
  for (CheckpointPolicy p : {CheckpointPolicy::sublayer, CheckpointPolicy::block}) {
    const Result r = train_step(DeviceKind::meta, p, DType::f32);
    EXPECT_EQ(matmul(r, Phase::recompute), matmul(none, Phase::forward));
    EXPECT_EQ(matmul(r, Phase::backward), matmul(none, Phase::backward));
  }
  const Result selective = train_step(DeviceKind::meta, CheckpointPolicy::selective, DType::f32);
  EXPECT_EQ(matmul(selective, Phase::recompute), 0);
  EXPECT_GT(selective.by_phase[static_cast<size_t>(Phase::recompute)].vector_flops, 0);
}

TEST(CheckpointPolicies, EachKeepsLessThanTheOneBefore) {
  int64_t before = INT64_MAX;
  for (CheckpointPolicy p : {CheckpointPolicy::none, CheckpointPolicy::selective, CheckpointPolicy::sublayer}) {
    const Result r = train_step(DeviceKind::meta, p, DType::f32);
    EXPECT_LT(r.saved_bytes, before) << name_of(p);
    before = r.saved_bytes;
  }
}

}  // namespace
}  // namespace reckon::testing
