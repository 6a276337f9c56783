// Suites over every registered op: it agrees with its independent reference (ops/reference.h) and with values
// from outside this project. Nothing here names an op.
#include <gtest/gtest.h>

#include <set>

#include "ops/reference.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

using ops::HostTensor;
using ops::HostTensors;
using ops::OpDef;
using ops::OpReference;

const OpReference* find_reference(std::string_view op) {
  for (const OpReference& r : ops::all_references())
    if (op == r.op) return &r;
  return nullptr;
}

HostTensors to_host(const TensorList& tensors) {
  HostTensors host;
  for (const Tensor& t : tensors)
    host.push_back(t.defined() ? HostTensor(t.shape(), to_doubles(t), t.dtype()) : HostTensor());
  return host;
}

struct EveryOpReference : ::testing::TestWithParam<const OpDef*> {
  const OpDef& op() const { return *GetParam(); }
  const OpReference* reference() const { return find_reference(op().name); }
  void SetUp() override { ASSERT_TRUE(reference()) << "write it in ops/<folder>/<folder>_eigen.cpp"; }
};

TEST_P(EveryOpReference, ExistsAndValuesFromOutsideToo) {
  EXPECT_TRUE(reference()->compute);
  EXPECT_TRUE(!reference()->values.empty() || !reference()->golden.empty())
      << "write closed values down or name a golden file whose run calls the op";
}

// Both sides compute in f64, in different orders: the table has its tolerance for sums of some thousand terms.
TEST_P(EveryOpReference, AgreesWithTheOpOnEveryCase) {
  for (const ops::OpCase& c : op().cases())
    for (const uint32_t needs_grad : {0u, ~0u}) {
      auto device = make_device(DeviceKind::cpu, 1);
      const TensorList inputs = make_inputs(*device, c, DType::f64, 11);
      const HostTensors host = to_host(inputs);  // before the op: it may write into its inputs
      ops::Plan plan;
      const TensorList outputs = ops::dispatch(op(), inputs, c.attrs, needs_grad, &plan);
      const HostTensors expected = reference()->compute({host, c.attrs.get(), needs_grad != 0});
      ASSERT_GE(expected.size(), outputs.size()) << op().name << " / " << c.name;
      for (size_t i = 0; i < outputs.size(); ++i) {
        const std::string where = fmt::format("{} / {} / output {}", op().name, c.name, i);
        if (!expected[i].defined) {
          EXPECT_FALSE(plan.outputs[i].differentiable)
              << where << ": only what backward alone reads may be left out";
          continue;
        }
        EXPECT_EQ(to_string(outputs[i].shape()), to_string(expected[i].shape)) << where;
        EXPECT_LE(relative_error(to_doubles(outputs[i]), expected[i].values), tolerance(DType::f64)) << where;
      }
    }
}

TEST_P(EveryOpReference, GivesTheValuesFromOutsideItself) {
  for (const ops::OpValues& v : reference()->values) {
    const HostTensors made = reference()->compute({v.inputs, v.attrs.get()});
    ASSERT_GE(made.size(), v.outputs.size()) << op().name << " / " << v.name;
    for (size_t i = 0; i < v.outputs.size(); ++i)
      EXPECT_LE(relative_error(made[i].values, v.outputs[i].values), v.precision)
          << op().name << " / " << v.name << " / output " << i;
  }
}

TEST_P(EveryOpReference, AndItsValuesFromOutsideAreTheOpsInF64AndF32) {
  for (const ops::OpValues& v : reference()->values)
    for (const DType type : {DType::f64, DType::f32}) {
      auto device = make_device(DeviceKind::cpu, 1);
      TensorList inputs;
      for (const HostTensor& t : v.inputs)
        inputs.push_back(t.defined
                             ? from_doubles(*device, t.shape, t.dtype == DType::f64 ? type : t.dtype, t.values)
                             : Tensor());
      const TensorList outputs = ops::dispatch(op(), inputs, v.attrs);
      EXPECT_NE(v.source, "") << op().name << " / " << v.name << ": say where the numbers come from";
      ASSERT_EQ(outputs.size(), v.outputs.size()) << op().name << " / " << v.name;
      for (size_t i = 0; i < outputs.size(); ++i) {
        const std::string where = fmt::format("{} / {} / {} / output {}", op().name, v.name, name_of(type), i);
        EXPECT_EQ(to_string(outputs[i].shape()), to_string(v.outputs[i].shape)) << where;
        EXPECT_LE(relative_error(to_doubles(outputs[i]), v.outputs[i].values),
                  std::max(v.precision, tolerance(type)))
            << where;
      }
    }
}

INSTANTIATE_TEST_SUITE_P(Registered, EveryOpReference,
                         ::testing::ValuesIn(ops::all_ops().begin(), ops::all_ops().end()),
                         [](const auto& info) { return std::string(info.param->name); });

TEST(References, NameEachOpOnceAndOnlyRegisteredOnes) {
  std::set<std::string> names;
  for (const OpReference& r : ops::all_references()) {
    EXPECT_TRUE(names.insert(r.op).second) << r.op << " has two references";
    EXPECT_NO_THROW(ops::op_by_name(r.op));
  }
}

}  // namespace
}  // namespace reckon::testing
