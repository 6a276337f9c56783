// gelu_tanh(gate) up, with gelu_tanh(x) = x / 2 (1 + tanh(u)) and u = sqrt(2 / pi) (x + 0.044715 x^3); and its
// gradients.
#include <cmath>

#include "ops/reference.h"

namespace reckon::ops {
namespace {

using Eigen::ArrayXd;

constexpr double kPi = 3.14159265358979323846;

ArrayXd gelu_tanh(const ArrayXd& x) {
  return x / 2 * (1 + (std::sqrt(2 / kPi) * (x + 0.044715 * x.cube())).tanh());
}

// 1 - tanh(u)^2 is the derivative of tanh(u), and du/dx = sqrt(2 / pi) (1 + 3 0.044715 x^2).
ArrayXd gelu_tanh_slope(const ArrayXd& x) {
  const ArrayXd t = (std::sqrt(2 / kPi) * (x + 0.044715 * x.cube())).tanh();
  return (1 + t) / 2 + x / 2 * (1 - t.square()) * std::sqrt(2 / kPi) * (1 + 3 * 0.044715 * x.square());
}

HostTensor like(const HostTensor& t, const ArrayXd& values) {
  return {t.shape, std::vector<double>(values.begin(), values.end())};
}

HostTensors geglu(const ReferenceCall& c) {
  const HostTensor &gate = c.in[0], &up = c.in[1];
  return {like(gate, gelu_tanh(gate.flat()) * up.flat())};
}

HostTensors geglu_backward(const ReferenceCall& c) {
  const HostTensor &g = c.in[0], &gate = c.in[1], &up = c.in[2];
  return {like(gate, g.flat() * up.flat() * gelu_tanh_slope(gate.flat())),
          like(gate, g.flat() * gelu_tanh(gate.flat()))};
}

}  // namespace

std::vector<OpReference> geglu_references() {
  const HostTensor gate{{6}, {-2.5, -1, -0.25, 0, 0.5, 3}}, up{{6}, {2, -3, 0.5, 7, -1.25, 0.75}};
  const std::string source =
      "the formula at the top of this file in float64 with Python's math.tanh and math.sqrt";
  return {{.op = "geglu",
           .compute = geglu,
           .values = {{.name = "six numbers",
                       .inputs = {gate, up},
                       .outputs = {{{6},
                                    {-0.030168532179997154, 0.4764240281751697, -0.0501623246491575, 0,
                                     -0.4321425122814299, 2.24727195593867}}},
                       .source = source}}},
          {.op = "geglu_backward",
           .compute = geglu_backward,
           .values = {{.name = "six numbers",
                       .inputs = {{{6}, {1, -2, 0.5, 3, 4, -1}}, gate, up},
                       .outputs = {{{6},
                                    {-0.07590315242533224, -0.4977845030746953, 0.07616147621223489, 10.5,
                                     -4.336849517673212, -0.7586881249732271}},
                                   {{6},
                                    {-0.015084266089998577, 0.3176160187834465, -0.0501623246491575, 0,
                                     1.3828560393005758, -2.996362607918227}}},
                       .source = source}}}};
}

}  // namespace reckon::ops
