// The joint 2-norm of a list of tensors and the coefficient that clips it, as torch.nn.utils.clip_grad_norm_
// has them, and the product of a list with a number.
#include <cmath>

#include "ops/grad_norm/grad_norm_attrs.h"
#include "ops/reference.h"

namespace reckon::ops {
namespace {

HostTensor one(double v) { return {{1}, {v}}; }

HostTensors sum_squares(const ReferenceCall& c) { return {one(c.in[0].flat().square().sum())}; }

HostTensors root_of_sum(const ReferenceCall& c) { return {one(std::sqrt(c.in[0].flat().sum()))}; }

HostTensors grad_norm(const ReferenceCall& c) {
  double squares = 0;
  for (const HostTensor& g : c.in) squares += g.flat().square().sum();
  return {one(std::sqrt(squares))};
}

HostTensors clip_coefficient(const ReferenceCall& c) {
  return {one(std::min(1.0, c.as<ClipAttrs>().max_norm / (c.in[0].values[0] + 1e-6)))};
}

HostTensors scale_all(const ReferenceCall& c) {
  HostTensors out;
  for (const HostTensor& t : c.in.first(c.in.size() - 1))
    out.push_back(shaped(t.shape, t.flat() * c.in.back().values[0]));
  return out;
}

}  // namespace

std::vector<OpReference> grad_norm_references() {
  const std::vector<const char*> clipping = {"ops/clip_grad_norm_active.safetensors"};
  return {{.op = "sum_squares", .compute = sum_squares, .golden = clipping},
          {.op = "root_of_sum", .compute = root_of_sum, .golden = clipping},
          {.op = "grad_norm",
           .compute = grad_norm,
           .values = {{.name = "2, 3, 6 in two tensors",
                       .inputs = {{{2}, {2, -3}}, {{1, 1}, {6}}},
                       .outputs = {one(7)},
                       .source = "4 + 9 + 36 = 49"}},
           .golden = clipping},
          {.op = "clip_coefficient",
           .compute = clip_coefficient,
           .values = {{.name = "a norm below the largest",
                       .inputs = {one(0.5)},
                       .attrs = std::make_shared<ClipAttrs>(1.0),
                       .outputs = {one(1)},
                       .source = "gradients within the largest norm stay as they are"}},
           .golden = clipping},
          {.op = "scale_all",
           .compute = scale_all,
           .values = {{.name = "two tensors, halved",
                       .inputs = {{{2}, {2, -3}}, {{1, 1}, {6}}, one(0.5)},
                       .outputs = {{{2}, {1, -1.5}}, {{1, 1}, {3}}},
                       .source = "the definition"}},
           .golden = clipping}};
}

}  // namespace reckon::ops
