// Which elements of an op's outputs depend on one element of an input, found by changing that one in f64. They must
// be NaN when it is. For the suites over every registered op, on the CPU and on the emulated GPU.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "ops/op.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {

// Flags and targets are looked at, not calculated with.
inline bool is_calculated_with(const ops::InputSpec& spec) {
  return !spec.optional_absent && spec.kind != ops::InputKind::index && spec.kind != ops::InputKind::mask01;
}

// The case's inputs with element `at` of input `input`, counted as it lies in memory, replaced.
inline TensorList inputs_with(Device& device, const ops::OpCase& c, DType t, size_t input, size_t at,
                              double value) {
  TensorList in = make_inputs(device, c, t, 11);
  const bool transposed = c.inputs[input].transposed;
  const Tensor stored = transposed ? in[input].transposed(-2, -1) : in[input];
  std::vector<double> v = to_doubles(stored);
  v[at] = value;
  const Tensor changed = from_doubles(device, stored.shape(), stored.dtype(), v);
  in[input] = transposed ? changed.transposed(-2, -1) : changed;
  return in;
}

struct Dependent {
  size_t output, element;
};

// By the f64 kernel, at two other values of the element.
inline std::vector<Dependent> dependents(const ops::OpDef& op, const ops::OpCase& c, size_t input, size_t at) {
  const auto device = make_device(DeviceKind::cpu, 1);
  const auto run = [&](double value) {
    std::vector<std::vector<double>> out;
    for (const Tensor& t : ops::dispatch(op, inputs_with(*device, c, DType::f64, input, at, value), c.attrs))
      out.push_back(t.defined() ? to_doubles(t) : std::vector<double>{});
    return out;
  };
  // What only backward reads is looked at by way of backward ops: a row's maximum may pass over the NaN, the sum
  // beside it does not.
  const ops::Plan plan =
      ops::plan_of(op, make_inputs(*device, c, DType::f64, 11), c.attrs, device->spec(), ~0u);
  const auto one = run(0.75), two = run(1.5), three = run(0.25);
  std::vector<Dependent> found;
  for (size_t o = 0; o < one.size(); ++o) {
    if (!plan.outputs[o].differentiable) continue;
    for (size_t e = 0; e < one[o].size(); ++e)
      if (one[o][e] != two[o][e] || one[o][e] != three[o][e]) found.push_back({o, e});
  }
  return found;
}

// Empty, or which of them is not NaN where element `at` of input `input` is.
inline std::string not_reached_by_nan(Device& device, const ops::OpDef& op, const ops::OpCase& c, DType t,
                                      size_t input, size_t at, const std::vector<Dependent>& expected) {
  std::vector<std::vector<double>> values;
  for (const Tensor& y : ops::dispatch(op, inputs_with(device, c, t, input, at, NAN), c.attrs))
    values.push_back(y.defined() ? to_doubles(y) : std::vector<double>{});
  size_t missing = 0;
  std::string first;
  for (const Dependent& d : expected) {
    const double v = values[d.output][d.element];
    if (!std::isnan(v) && missing++ == 0)
      first = fmt::format("output {} element {} is {}", d.output, d.element, v);
  }
  return missing == 0 ? "" : fmt::format("{} of {} elements, the first: {}", missing, expected.size(), first);
}

}  // namespace reckon::testing
