// gate sigmoid(gate) up and its gradients: the slope of x sigmoid(x) is s + x s (1 - s).
#include "ops/reference.h"

namespace reckon::ops {
namespace {

using Eigen::ArrayXd;

enum BackwardInput : int { kGradient, kGate, kUp };

ArrayXd sigmoid(const ArrayXd& x) { return 1 / (1 + (-x).exp()); }

HostTensor with_values(const HostTensor& like, const ArrayXd& values) {
  return {like.shape, std::vector<double>(values.begin(), values.end())};
}

HostTensors swiglu(const ReferenceCall& c) {
  const HostTensor &gate = c.in[0], &up = c.in[1];
  return {with_values(gate, gate.flat() * sigmoid(gate.flat()) * up.flat())};
}

HostTensors swiglu_backward(const ReferenceCall& c) {
  const ArrayXd g = c.in[kGradient].flat(), gate = c.in[kGate].flat(), up = c.in[kUp].flat();
  const ArrayXd s = sigmoid(gate);
  return {with_values(c.in[kGate], g * up * (s + gate * s * (1 - s))), with_values(c.in[kGate], g * gate * s)};
}

}  // namespace

std::vector<OpReference> swiglu_references() {
  return {{.op = "swiglu", .compute = swiglu, .golden = {"ops/swiglu_a.safetensors"}},
          {.op = "swiglu_backward", .compute = swiglu_backward, .golden = {"ops/swiglu_a.safetensors"}}};
}

}  // namespace reckon::ops
