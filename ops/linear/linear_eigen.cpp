// y = x W^T + b.
#include "ops/linear/linear_inputs.h"
#include "ops/reference_norm.h"

namespace reckon::ops {
namespace {

HostTensors linear(const ReferenceCall& c) {
  using In = LinearInput;
  const HostTensor &x = c.in[In::x], &weight = c.in[In::weight], &bias = c.in[In::bias];
  HostTensor y(with_last(x.shape, weight.size(0)));
  y.rows() = x.rows() * weight.rows().transpose();
  if (bias.defined) y.rows().rowwise() += bias.rows().row(0);
  return {y};
}

}  // namespace

std::vector<OpReference> linear_references() {
  return {{.op = "linear",
           .compute = linear,
           .values = {{.name = "whole numbers",
                       .inputs = {{{2, 2}, {1, 2, 3, 4}}, {{3, 2}, {1, 0, 0, 1, 1, 1}}, {{3}, {10, 20, 30}}},
                       .outputs = {{{2, 3}, {11, 22, 33, 13, 24, 37}}},
                       .source = "rows of W take the first element, the second, and their sum"}},
           .golden = {"ops/linear_bias.safetensors", "ops/linear_nobias_2d.safetensors"}}};
}

}  // namespace reckon::ops
