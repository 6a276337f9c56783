// Gradients in the types that people use, and what NaN does, over every registered op: nothing here names one.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "autograd/engine.h"
#include "autograd/node.h"
#include "ops/cast/cast.h"
#include "runtime/cpu/isa.h"
#include "tests/support/nan_judge.h"

namespace reckon::testing {
namespace {

using ops::OpCase;
using ops::OpDef;

struct EveryOpInNarrowTypes : ::testing::TestWithParam<const OpDef*> {
  const OpDef& op() const { return *GetParam(); }
};

std::vector<DType> narrow_types(const OpCase& c) {
  if (c.half_types) return {DType::f32, DType::bf16, DType::f16};
  return {DType::f32};
}

// Root mean square of the differences over that of the gradient in f64, or over 0.01 where that is smaller: with one
// key the gradients of attention's logits are 0 but for roundings.
double gradient_error(const std::vector<double>& got, const std::vector<double>& exact) {
  if (got.size() != exact.size()) return INFINITY;
  double difference = 0, size = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    difference += (got[i] - exact[i]) * (got[i] - exact[i]);
    size += exact[i] * exact[i];
  }
  const double n = std::max<double>(static_cast<double>(got.size()), 1);
  return std::sqrt(difference / n) / std::max(std::sqrt(size / n), 0.01);
}

// Half a unit in the last place of a number near 1.
double rounding(DType t) { return t == DType::f32 ? 0x1p-25 : (t == DType::bf16 ? 0x1p-9 : 0x1p-12); }

// A gradient is as good as if every input had been rounded a few times more: within eight roundings of the largest
// size plus twice what one rounding of every input makes of the f64 gradient. The second part is nearly nothing but
// where a relu's input is that close to 0 and lets a whole element through or none of it. f32 has longer sums before
// its one rounding, and polynomials of 2e-7: 32 roundings.
double bound(DType t, double sensitivity) { return (t == DType::f32 ? 32 : 8) * rounding(t) + 2 * sensitivity; }

// One per input, empty where it has none. Of sum(outputs * seeds); the seeds are the same in every type. `noise`: a
// fraction of its size by which every input is moved, up or down.
std::vector<std::vector<double>> gradients(Device& device, const OpDef& op, const OpCase& c, DType t,
                                           double noise = 0) {
  TensorList in = make_inputs(device, c, t, 17);
  const TensorList shifts = noise > 0 ? make_inputs(device, c, t, 18) : in;
  for (size_t i = 0; i < in.size(); ++i) {
    if (noise > 0 && is_calculated_with(c.inputs[i])) {
      std::vector<double> v = to_doubles(in[i]);
      const std::vector<double> shift = to_doubles(shifts[i]);
      for (size_t e = 0; e < v.size(); ++e)
        v[e] *= 1 + (std::fmod(std::fabs(shift[e]) * 16, 2) < 1 ? noise : -noise);
      in[i] = from_doubles(device, in[i].shape(), in[i].dtype(), v);
    }
    if (in[i].defined() && is_floating(in[i].dtype()) && !c.inputs[i].no_grad) {
      Tensor own = in[i].contiguous() ? ops::copy(in[i]) : in[i];
      autograd::set_requires_grad(own);
      in[i] = own;
    }
  }
  const TensorList out = ops::call(op, in, c.attrs);
  TensorList roots, seeds;
  for (size_t i = 0; i < out.size(); ++i) {
    if (!out[i].requires_grad()) continue;
    roots.push_back(out[i]);
    seeds.push_back(make_inputs(device, {.name = "seed", .inputs = {{.shape = out[i].shape()}}}, out[i].dtype(),
                                100 + i)[0]);
  }
  autograd::backward(roots, seeds);
  std::vector<std::vector<double>> found(in.size());
  for (size_t i = 0; i < in.size(); ++i)
    if (in[i].defined() && in[i].requires_grad()) {
      const Tensor g = autograd::grad_of(in[i]);
      EXPECT_TRUE(g.defined()) << "input " << i;
      if (g.defined()) found[i] = to_doubles(g);
    }
  return found;
}

TEST_P(EveryOpInNarrowTypes, GradientsAgreeWithThoseOfFloat64) {
  if (op().gradient != ops::Gradient::differentiable) return;
  const auto exact_device = make_device(DeviceKind::cpu, 1);
  for (const OpCase& c : op().cases()) {
    const auto exact = gradients(*exact_device, op(), c, DType::f64);
    for (DType t : narrow_types(c)) {
      const auto moved = gradients(*exact_device, op(), c, DType::f64, rounding(t));
      for (int level = 0; level <= static_cast<int>(machine_isa_level()); ++level) {
        SCOPED_TRACE(fmt::format("{} / {} / {} / isa {}", op().name, c.name, name_of(t), level));
        const auto device = make_device(DeviceKind::cpu, 2, level);
        const auto got = gradients(*device, op(), c, t);
        for (size_t i = 0; i < got.size(); ++i)
          EXPECT_LE(gradient_error(got[i], exact[i]),
                    bound(t, gradient_error(moved[i], exact[i])) * c.tolerance_scale)
              << "input " << i;
      }
    }
  }
}

// NaN in one element of an input makes NaN of every element of the outputs that a change of it changes.
TEST_P(EveryOpInNarrowTypes, NaNReachesAllThatDependsOnIt) {
  for (const OpCase& c : op().cases())
    for (size_t i = 0; i < c.inputs.size(); ++i) {
      const auto n = static_cast<size_t>(c.inputs[i].optional_absent ? 0 : numel(c.inputs[i].shape));
      if (n == 0 || n > 100000 || !is_calculated_with(c.inputs[i])) continue;
      for (size_t at : {n / 2, n - 1}) {
        const std::vector<Dependent> expected = dependents(op(), c, i, at);
        for (int level = -1; level <= static_cast<int>(machine_isa_level()); ++level)
          for (DType t : level < 0 ? std::vector<DType>{DType::f64} : narrow_types(c)) {
            SCOPED_TRACE(fmt::format("{} / {} / input {} element {} / {} / isa {}", op().name, c.name, i, at,
                                     name_of(t), level));
            const auto device = make_device(DeviceKind::cpu, 2, level);
            EXPECT_EQ(not_reached_by_nan(*device, op(), c, t, i, at, expected), "");
          }
      }
    }
}

INSTANTIATE_TEST_SUITE_P(Registered, EveryOpInNarrowTypes,
                         ::testing::ValuesIn(ops::all_ops().begin(), ops::all_ops().end()),
                         [](const auto& info) { return std::string(info.param->name); });

}  // namespace
}  // namespace reckon::testing
