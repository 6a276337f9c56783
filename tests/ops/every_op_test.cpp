// Suites over every registered op: nothing here names an op.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "autograd/engine.h"
#include "autograd/grad_mode.h"
#include "autograd/node.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/kernel/cpu/scalar.h"
#include "ops/sum/sum.h"
#include "runtime/cpu/isa.h"
#include "tests/support/event_log.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

using ops::OpCase;
using ops::OpDef;

struct EveryOp : ::testing::TestWithParam<const OpDef*> {
  const OpDef& op() const { return *GetParam(); }
  std::vector<OpCase> cases() const { return op().cases(); }
};

std::vector<DType> types_of(const OpCase& c) {
  if (c.half_types) return {DType::f32, DType::bf16, DType::f16};
  return {DType::f32};
}

// Outputs of the f64 reference kernel on the same (already rounded) inputs.
std::vector<std::vector<double>> reference_outputs(const OpDef& op, const OpCase& c) {
  auto device = make_device(DeviceKind::cpu, 1);
  const TensorList inputs = make_inputs(*device, c, DType::f64, 11);
  std::vector<std::vector<double>> out;
  for (const Tensor& t : ops::dispatch(op, inputs, c.attrs)) out.push_back(to_doubles(t));
  return out;
}

TEST_P(EveryOp, DeclaresCostCasesAndGradient) {
  ASSERT_TRUE(op().plan && op().kernels.reference && op().kernels.counted)
      << "plan, reference and counted kernels are required";
  for (ops::KernelFn f : op().kernels.cpu) ASSERT_TRUE(f);
  ASSERT_TRUE(op().cases) << "an op without cases cannot be tested";
  ASSERT_FALSE(cases().empty());
  if (op().gradient == ops::Gradient::differentiable)
    ASSERT_TRUE(op().backward);
  else
    ASSERT_STRNE(op().gradient_note, "") << "say why there is no gradient";
}

TEST_P(EveryOp, MetaEmitsTheEventsOfTheRealRun) {
  for (const OpCase& c : cases())
    for (DType t : types_of(c)) {
      std::vector<Event> logs[2];
      for (int k = 0; k < 2; ++k) {
        auto device = make_device(k ? DeviceKind::meta : DeviceKind::cpu);
        EventLog log;
        device->add_sink(&log);
        {
          const TensorList inputs = make_inputs(*device, c, t, 11);
          const TensorList outputs = ops::dispatch(op(), inputs, c.attrs, ~0u);
        }
        logs[k] = log.events;
      }
      EXPECT_EQ(first_difference(logs[0], logs[1]), "") << op().name << " / " << c.name << " / " << name_of(t);
    }
}

TEST_P(EveryOp, AgreesWithFloat64AtEveryInstructionSet) {
  for (const OpCase& c : cases()) {
    const auto expected = reference_outputs(op(), c);
    for (int level = 0; level <= static_cast<int>(machine_isa_level()); ++level)
      for (DType t : types_of(c)) {
        auto device = make_device(DeviceKind::cpu, 2, level);
        const TensorList inputs = make_inputs(*device, c, t, 11);
        const TensorList outputs = ops::dispatch(op(), inputs, c.attrs);
        ASSERT_EQ(outputs.size(), expected.size());
        for (size_t i = 0; i < outputs.size(); ++i)
          EXPECT_LE(relative_error(to_doubles(outputs[i]), expected[i]), tolerance(t) * c.tolerance_scale)
              << op().name << " / " << c.name << " / " << name_of(t) << " / output " << i << " / isa " << level;
      }
  }
}

TEST_P(EveryOp, ResultDoesNotDependOnTheNumberOfThreads) {
  for (const OpCase& c : cases()) {
    std::vector<std::vector<double>> results[2];
    for (int k = 0; k < 2; ++k) {
      auto device = make_device(DeviceKind::cpu, k + 1);
      for (const Tensor& t : ops::dispatch(op(), make_inputs(*device, c, DType::f32, 5), c.attrs))
        results[k].push_back(to_doubles(t));
    }
    EXPECT_EQ(results[0], results[1]) << op().name << " / " << c.name;
  }
}

TEST_P(EveryOp, CostEqualsTheOperationsCountedInTheReferenceKernel) {
  for (const OpCase& c : cases()) {
    auto device = make_device(DeviceKind::cpu, 1);
    const TensorList inputs = make_inputs(*device, c, DType::f64, 3);
    const ops::Plan plan = ops::plan_of(op(), inputs, c.attrs, device->spec(), ~0u);
    OpDef counted = op();
    counted.kernels.reference = op().kernels.counted;
    ops::Counted::n_flops = ops::Counted::n_special = 0;
    ops::dispatch(counted, inputs, c.attrs);
    EXPECT_EQ(ops::Counted::n_flops, plan.cost.matmul_flops + plan.cost.vector_flops)
        << op().name << " / " << c.name;
    EXPECT_EQ(ops::Counted::n_special, plan.cost.special) << op().name << " / " << c.name;
  }
}

// L = sum over outputs of sum(output * weight), differentiated by backward and by central differences in f64.
TEST_P(EveryOp, GradientAgreesWithCentralDifferences) {
  if (op().gradient != ops::Gradient::differentiable) return;
  for (const OpCase& c : cases()) {
    auto device = make_device(DeviceKind::cpu, 1);
    TensorList inputs = make_inputs(*device, c, DType::f64, 17);
    for (size_t i = 0; i < inputs.size(); ++i)
      if (inputs[i].defined() && inputs[i].dtype() == DType::f64 && !c.inputs[i].no_grad) {
        Tensor own = inputs[i].contiguous() ? ops::copy(inputs[i]) : inputs[i];
        autograd::set_requires_grad(own);
        inputs[i] = own;
      }
    const TensorList outputs = ops::call(op(), inputs, c.attrs);
    TensorList roots, seeds;
    std::vector<std::vector<double>> weights(outputs.size());
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!outputs[i].requires_grad()) continue;
      OpCase seed_case{.name = "seed", .inputs = {{.shape = outputs[i].shape()}}};
      seeds.push_back(make_inputs(*device, seed_case, outputs[i].dtype(), 100 + i)[0]);
      weights[i] = to_doubles(seeds.back());
      roots.push_back(outputs[i]);
    }
    ASSERT_FALSE(roots.empty()) << op().name << " / " << c.name << ": no output carries a gradient";
    autograd::backward(roots, seeds);
    const auto loss = [&] {
      autograd::NoGrad no_grad;
      const TensorList out = ops::dispatch(op(), inputs, c.attrs);
      long double total = 0;  // thousands of terms: their rounding must not drown the difference
      for (size_t i = 0; i < out.size(); ++i) {
        if (weights[i].empty()) continue;
        const auto v = to_doubles(out[i]);
        for (size_t j = 0; j < v.size(); ++j) total += static_cast<long double>(v[j]) * weights[i][j];
      }
      return total;
    };
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!inputs[i].defined() || !inputs[i].requires_grad()) continue;
      const Tensor grad = autograd::grad_of(inputs[i]);
      ASSERT_TRUE(grad.defined()) << op().name << " / " << c.name << ": input " << i << " got no gradient";
      const auto g = to_doubles(grad);
      // Logical index to storage position, for views.
      const int64_t n = inputs[i].numel(), step = std::max<int64_t>(1, n / 23);
      double largest = 0;
      for (double v : g) largest = std::max(largest, std::fabs(v));
      for (int64_t e = 0; e < n; e += step) {
        int64_t rest = e, position = 0;
        for (int a = inputs[i].rank() - 1; a >= 0; --a) {
          position += rest % inputs[i].shape()[a] * inputs[i].strides()[a];
          rest /= inputs[i].shape()[a];
        }
        double* cell = inputs[i].data<double>() + position;
        const double x = *cell, h = 1e-6 * std::max(1.0, std::fabs(x));
        *cell = x + h;
        const long double up = loss();
        *cell = x - h;
        const long double down = loss();
        *cell = x;
        EXPECT_NEAR(g[static_cast<size_t>(e)], static_cast<double>((up - down) / (2 * h)),
                    2e-7 * std::max(1.0, largest) * c.tolerance_scale)
            << op().name << " / " << c.name << " / input " << i << " element " << e;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Registered, EveryOp, ::testing::ValuesIn(ops::all_ops().begin(), ops::all_ops().end()),
                         [](const auto& info) { return std::string(info.param->name); });

TEST(Registry, NamesAreUnique) {
  std::set<std::string> names;
  for (const OpDef* op : ops::all_ops()) EXPECT_TRUE(names.insert(op->name).second) << op->name;
}

}  // namespace
}  // namespace reckon::testing
