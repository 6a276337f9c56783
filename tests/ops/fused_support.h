// For tests of fused ops: the same leaves through the fused op and through a composition of simple ops in f64,
// outputs and all gradients compared; and the bytes a plan keeps for backward.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "autograd/engine.h"
#include "autograd/node.h"
#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/linear/linear.h"
#include "ops/matmul/matmul.h"
#include "ops/mean_var/mean_var.h"
#include "ops/rules.h"
#include "ops/sum/sum.h"
#include "ops/view/view.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {

using Composition = std::function<TensorList(const TensorList& leaves)>;

struct Outcome {
  std::vector<std::vector<double>> outputs, gradients;
};

inline Outcome run_composition(const std::vector<ops::InputSpec>& specs, DType dtype, const Composition& f) {
  auto device = make_device(DeviceKind::cpu);
  const ops::OpCase leaves_case{.name = "leaves", .inputs = specs};
  TensorList leaves = make_inputs(*device, leaves_case, dtype, 23);
  for (size_t i = 0; i < leaves.size(); ++i)
    if (leaves[i].defined() && !specs[i].no_grad) autograd::set_requires_grad(leaves[i]);
  Outcome r;
  {
    const TensorList outputs = f(leaves);
    TensorList seeds;
    for (size_t i = 0; i < outputs.size(); ++i) {
      r.outputs.push_back(to_doubles(outputs[i]));
      const ops::OpCase seed{.name = "seed", .inputs = {ops::normal(outputs[i].shape())}};
      seeds.push_back(make_inputs(*device, seed, outputs[i].dtype(), 200 + i)[0]);
    }
    autograd::backward(outputs, seeds);
  }
  for (size_t i = 0; i < leaves.size(); ++i) {
    const bool has = leaves[i].defined() && leaves[i].requires_grad() && autograd::grad_of(leaves[i]).defined();
    r.gradients.push_back(has ? to_doubles(autograd::grad_of(leaves[i])) : std::vector<double>{});
    if (leaves[i].defined()) autograd::clear_grad(leaves[i]);
  }
  return r;
}

// Fused in f64 against the composition in f64: 1e-10 leaves room for a different
// order of a few thousand additions.
inline void expect_equals_composition(const std::vector<ops::InputSpec>& specs, const Composition& fused,
                                      const Composition& eager, double tolerance = 1e-10) {
  const Outcome a = run_composition(specs, DType::f64, fused), b = run_composition(specs, DType::f64, eager);
  ASSERT_EQ(a.outputs.size(), b.outputs.size());
  for (size_t i = 0; i < a.outputs.size(); ++i)
    EXPECT_LE(relative_error(a.outputs[i], b.outputs[i]), tolerance) << "output " << i;
  for (size_t i = 0; i < specs.size(); ++i) {
    ASSERT_EQ(a.gradients[i].size(), b.gradients[i].size()) << "input " << i;
    EXPECT_LE(relative_error(a.gradients[i], b.gradients[i]), tolerance) << "gradient of input " << i;
    EXPECT_EQ(a.gradients[i].empty(), specs[i].optional_absent || specs[i].no_grad) << "input " << i;
  }
}

// LN(x) w + b over the last axis, from simple ops.
inline Tensor eager_layer_norm(const Tensor& x, const Tensor& w, const Tensor& b, double eps) {
  const int last = x.rank() - 1;
  const Tensor d = ops::sub(x, ops::mean(x, {last}, true));
  const Tensor s = ops::sqrt(ops::affine(ops::mean(ops::mul(d, d), {last}, true), 1.0, eps));
  const Tensor n = ops::mul(ops::div(d, s), w);
  return b.defined() ? ops::add(n, b) : n;
}

// Bytes of what the op keeps when every input needs a gradient: its outputs, and those inputs named in `inputs`
// (parameters and masks exist anyway).
inline int64_t kept_bytes(const char* op, const std::vector<ops::InputSpec>& specs, const ops::AttrsPtr& attrs,
                          const std::set<int>& inputs, DType dtype = DType::f32, uint32_t needs = ~0u) {
  auto device = make_device(DeviceKind::meta);
  TensorList in;
  for (const ops::InputSpec& s : specs)
    in.push_back(s.optional_absent ? Tensor{} : Tensor::empty(*device, s.shape, dtype));
  const ops::Plan plan = ops::plan_of(ops::op_by_name(op), in, attrs, device->spec(), needs);
  int64_t total = 0;
  for (const ops::SaveRef& s : plan.saves) {
    const auto i = static_cast<size_t>(s.index);
    if (s.output)
      total += numel(plan.outputs[i].shape) * static_cast<int64_t>(size_of(plan.outputs[i].dtype));
    else if (inputs.contains(s.index))
      total += static_cast<int64_t>(in[i].bytes());
  }
  return total;
}

}  // namespace reckon::testing
