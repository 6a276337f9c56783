// x sigmoid(gate) and its gradients: the slope of the sigmoid s is s (1 - s).
#include <cmath>

#include "ops/reference.h"

namespace reckon::ops {
namespace {

using Eigen::ArrayXd;

enum BackwardInput : int { kGradient, kX, kGate };

ArrayXd sigmoid(const ArrayXd& x) { return 1 / (1 + (-x).exp()); }

HostTensor with_values(const HostTensor& like, const ArrayXd& values) {
  return {like.shape, std::vector<double>(values.begin(), values.end())};
}

HostTensors mul_sigmoid(const ReferenceCall& c) {
  return {with_values(c.in[0], c.in[0].flat() * sigmoid(c.in[1].flat()))};
}

HostTensors mul_sigmoid_backward(const ReferenceCall& c) {
  const ArrayXd g = c.in[kGradient].flat(), x = c.in[kX].flat(), s = sigmoid(c.in[kGate].flat());
  return {with_values(c.in[kX], g * s), with_values(c.in[kX], g * x * s * (1 - s))};
}

}  // namespace

std::vector<OpReference> mul_sigmoid_references() {
  const double log3 = std::log(3.0);
  const HostTensor x{{3}, {2, 8, -16}}, gate{{3}, {0, log3, -log3}};
  const std::string source = "the sigmoid of 0, log 3 and -log 3 is 1/2, 3/4 and 1/4";
  return {
      {.op = "mul_sigmoid",
       .compute = mul_sigmoid,
       .values = {{.name = "by hand", .inputs = {x, gate}, .outputs = {{{3}, {1, 6, -4}}}, .source = source}}},
      {.op = "mul_sigmoid_backward",
       .compute = mul_sigmoid_backward,
       .values = {{.name = "by hand",
                   .inputs = {{{3}, {1, 2, 4}}, x, gate},
                   .outputs = {{{3}, {0.5, 1.5, 1}}, {{3}, {0.5, 3, -12}}},
                   .source = source}}}};
}

}  // namespace reckon::ops
