// Every declared case of every op: its GPU kernels against the CPU's f64 reference, with the plan's
// events, and twice for equal bits.
#include <gtest/gtest.h>

#include <cstring>

#include "ops/cast/cast.h"
#include "ops/op.h"
#include "tests/gpu/gpu_device.h"
#include "tests/gpu/smallest_shapes.h"
#include "tests/support/event_log.h"
#include "tests/support/nan_judge.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

std::unique_ptr<Device> meta() { return std::make_unique<Device>(DeviceKind::meta, gpu_spec()); }

struct Ran {
  TensorList outputs;
  std::vector<std::vector<std::byte>> bits;
};

Ran run(Device& device, const ops::OpDef& op, const ops::OpCase& c, DType t) {
  Ran r;
  const TensorList inputs = make_inputs(device, c, t, 17);
  r.outputs = ops::dispatch(op, inputs, c.attrs, ~0u);
  if (!device.executes()) return r;
  for (const Tensor& out : r.outputs)
    r.bits.push_back(out.contiguous() ? out.to_host() : std::vector<std::byte>{});
  return r;
}

class EveryKernel : public ::testing::TestWithParam<const ops::OpDef*> {};

TEST_P(EveryKernel, AgreesWithTheReference) {
  const ops::OpDef& op = *GetParam();
  for (const ops::OpCase& c : op.cases())
    for (DType t : {DType::f32, DType::bf16, DType::f16}) {
      if (t != DType::f32 && !c.half_types) continue;
      if (t == DType::f16 && smallest_shapes()) continue;  // the kernels of bf16 in another type
      if (smallest_shapes() && op.name == std::string_view("linear_cross_entropy") &&
          c.name == std::string_view("several tiles"))
        continue;  // a million logits
      SCOPED_TRACE(fmt::format("{} '{}' {}", op.name, c.name, name_of(t)));
      const auto device = make_gpu(), cpu = make_device(DeviceKind::cpu);
      const Ran got = run(*device, op, c, t);
      const TensorList reference = run(*cpu, op, c, op.kernels.reference ? DType::f64 : t).outputs;
      ASSERT_EQ(got.outputs.size(), reference.size());
      for (size_t i = 0; i < reference.size(); ++i) {
        ASSERT_TRUE(got.outputs[i].contiguous()) << "output " << i;
        EXPECT_LE(relative_error(to_doubles(got.outputs[i]), to_doubles(reference[i])),
                  tolerance(t) * c.tolerance_scale)
            << "output " << i;
      }
    }
}

TEST_P(EveryKernel, LetsNaNReachAllThatDependsOnIt) {
  const ops::OpDef& op = *GetParam();
  if (smallest_shapes() || !op.kernels.reference) return;
  for (const ops::OpCase& c : op.cases())
    for (size_t i = 0; i < c.inputs.size(); ++i) {
      const auto n = static_cast<size_t>(c.inputs[i].optional_absent ? 0 : numel(c.inputs[i].shape));
      if (n == 0 || n > 20000 || !is_calculated_with(c.inputs[i])) continue;
      const std::vector<Dependent> expected = dependents(op, c, i, n / 2);
      for (DType t : {DType::f32, DType::bf16}) {
        if (t != DType::f32 && !c.half_types) continue;
        SCOPED_TRACE(fmt::format("{} '{}' {} input {}", op.name, c.name, name_of(t), i));
        const auto device = make_gpu();
        EXPECT_EQ(not_reached_by_nan(*device, op, c, t, i, n / 2, expected), "");
      }
    }
}

TEST_P(EveryKernel, RepeatsItsBits) {
  const ops::OpDef& op = *GetParam();
  for (const ops::OpCase& c : op.cases()) {
    const auto device = make_gpu();
    EXPECT_EQ(run(*device, op, c, DType::f32).bits, run(*device, op, c, DType::f32).bits) << c.name;
  }
}

TEST_P(EveryKernel, MakesTheEventsOfTheDryRun) {
  const ops::OpDef& op = *GetParam();
  for (const ops::OpCase& c : op.cases())
    for (DType t : {DType::f32, DType::bf16}) {
      if (t != DType::f32 && !c.half_types) continue;
      EventLog executed, predicted;
      {
        const auto device = make_gpu();
        device->add_sink(&executed);
        run(*device, op, c, t);
      }
      {
        const auto device = meta();
        device->add_sink(&predicted);
        run(*device, op, c, t);
      }
      EXPECT_EQ(first_difference(predicted.events, executed.events), "") << c.name;
    }
}

TEST(GpuPlans, RefuseF64) {
  const ops::OpDef& op = ops::op_by_name("matmul");
  const auto device = meta();
  const TensorList inputs = make_inputs(*device, op.cases()[0], DType::f64, 1);
  EXPECT_THROW(ops::plan_of(op, inputs, op.cases()[0].attrs, device->spec(), ~0u), Error);
}

// Views and reshapes launch nothing; every other op must have a kernel.
bool launches(const ops::OpDef& op) {
  for (const ops::OpCase& c : op.cases()) {
    const auto device = meta();
    const TensorList inputs = make_inputs(*device, c, DType::f32, 1);
    if (!ops::plan_of(op, inputs, c.attrs, device->spec(), ~0u).launches.empty()) return true;
  }
  return false;
}

std::vector<const ops::OpDef*> ops_that_launch() {
  std::vector<const ops::OpDef*> out;
  for (const ops::OpDef* op : ops::all_ops())
    if (launches(*op)) out.push_back(op);
  return out;
}

INSTANTIATE_TEST_SUITE_P(Ops, EveryKernel, ::testing::ValuesIn(ops_that_launch()),
                         [](const auto& p) { return std::string(p.param->name); });

}  // namespace
}  // namespace reckon::testing
