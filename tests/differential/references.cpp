#include "tests/differential/references.h"

#include <cmath>
#include <map>

#include "autograd/grad_mode.h"
#include "autograd/hook.h"
#include "ops/reference.h"
#include "tests/differential/values.h"

namespace reckon::differential {
namespace {

using ops::HostTensor;
using ops::HostTensors;

thread_local std::vector<std::string>* complaints_now = nullptr;
thread_local ops::CallHook checked_hook = nullptr;
thread_local bool kink_met = false;

bool has_kink(const ops::OpDef& op) {
  return op.name == std::string_view("relu") || op.name == std::string_view("abs");
}

const ops::OpReference& reference_of(const ops::OpDef& op) {
  static const auto table = [] {
    std::map<std::string_view, const ops::OpReference*> t;
    for (const ops::OpReference& r : ops::all_references()) t[r.op] = &r;
    return t;
  }();
  const auto found = table.find(op.name);
  RECKON_CHECK(found != table.end(), "op '{}' has no independent reference", op.name);
  return *found->second;
}

HostTensors read_all(std::span<const Tensor> tensors) {
  HostTensors host;
  for (const Tensor& t : tensors) host.push_back(t.defined() ? read(t) : HostTensor());
  return host;
}

double largest(const HostTensor& t) {
  double m = 0;
  for (double v : t.values)
    if (std::isfinite(v)) m = std::max(m, std::fabs(v));
  return m;
}

// Largest difference of two tensors of one shape; infinite where only one is NaN or both are not the same infinity.
double distance(const HostTensor& a, const HostTensor& b) {
  double worst = 0;
  for (size_t i = 0; i < a.values.size(); ++i) {
    const double x = a.values[i], y = b.values[i];
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    const double d = std::fabs(x - y);
    worst = std::max(worst, std::isfinite(d) ? d : INFINITY);
  }
  return worst;
}

// How far the reference's outputs move when its inputs do by 1e-13 of each element.
double movement(const ops::OpReference& r, const ops::ReferenceCall& c, size_t output,
                const HostTensor& still) {
  HostTensors moved(c.in.begin(), c.in.end());
  uint64_t n = 0;
  for (HostTensor& t : moved)
    if (t.defined && t.dtype == DType::f64)
      for (double& v : t.values) v *= 1 + 1e-13 * static_cast<double>(static_cast<int64_t>(n++ % 5) - 2);
  const HostTensors out = r.compute({moved, c.attrs, c.keeps});
  return distance(out[output], still);
}

TensorList checked_call(const ops::OpDef& op, std::span<const Tensor> inputs, const ops::AttrsPtr& attrs) {
  const HostTensors host = read_all(inputs);
  if (has_kink(op))
    for (double v : host[0].values) kink_met |= std::fabs(v) < 1e-7;
  TensorList outputs = checked_hook(op, inputs, attrs);
  const ops::OpReference& r = reference_of(op);
  bool keeps = false;
  for (const Tensor& t : inputs) keeps |= t.defined() && t.requires_grad();
  keeps &= autograd::grad_state().enabled && op.gradient == ops::Gradient::differentiable;
  const ops::ReferenceCall call{host, attrs.get(), keeps};
  const HostTensors expected = r.compute(call);
  for (size_t i = 0; i < outputs.size() && i < expected.size(); ++i) {
    if (!expected[i].defined) continue;
    const HostTensor got = read(outputs[i]);
    std::string what;
    if (got.shape != expected[i].shape) {
      what = fmt::format("shape {}, right is {}", to_string(got.shape), to_string(expected[i].shape));
    } else {
      const double d = distance(got, expected[i]);
      if (d <= 1e-11 * largest(expected[i])) continue;
      if (d <= 1e-13 + 100 * movement(r, call, i, expected[i])) continue;
      what = fmt::format("off by {:.3g}, largest element {:.3g}", d, largest(expected[i]));
    }
    std::string from;
    for (const Tensor& t : inputs) from += " " + (t.defined() ? describe(t) : std::string("none"));
    complaints_now->push_back(fmt::format("op '{}' in f64 differs from its reference: output {} {}; inputs{}",
                                          op.name, i, what, from));
  }
  return outputs;
}

TensorList reference_call(const ops::OpDef& op, std::span<const Tensor> inputs, const ops::AttrsPtr& attrs) {
  Device* device = nullptr;
  for (const Tensor& t : inputs)
    if (t.defined()) device = &t.device();
  const ops::Plan plan = ops::plan_of(op, inputs, attrs, device->spec(), 0);
  const HostTensors host = read_all(inputs);
  const HostTensors computed = reference_of(op).compute({host, attrs.get(), false});
  TensorList outputs;
  for (size_t i = 0; i < plan.outputs.size(); ++i) {
    const ops::OutputSpec& spec = plan.outputs[i];
    Tensor out;
    if (spec.alias_of < 0)
      out = Tensor::empty(*device, spec.shape, spec.dtype, spec.category, spec.label);
    else if (spec.writes)
      out = inputs[static_cast<size_t>(spec.alias_of)].detached();
    else
      out = inputs[static_cast<size_t>(spec.alias_of)].with_layout(spec.layout);
    if (computed.at(i).defined && (spec.alias_of < 0 || spec.writes)) write(out, computed[i].values);
    outputs.push_back(out);
  }
  return outputs;
}

}  // namespace

CheckedCalls::CheckedCalls(std::vector<std::string>& complaints) {
  autograd::install_hook();
  checked_hook = ops::call_hook();
  complaints_now = &complaints;
  kink_met = false;
  ops::set_call_hook(checked_call);
}

CheckedCalls::~CheckedCalls() {
  ops::set_call_hook(checked_hook);
  complaints_now = nullptr;
}

bool CheckedCalls::at_kink() const { return kink_met; }

ReferenceCalls::ReferenceCalls() : before_(ops::call_hook()) { ops::set_call_hook(reference_call); }
ReferenceCalls::~ReferenceCalls() { ops::set_call_hook(before_); }

}  // namespace reckon::differential
