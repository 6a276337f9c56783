// (x - target)^2 per element, summed or averaged, and its gradient 2 (x - target) g.
#include "ops/mse_loss/mse_loss_attrs.h"
#include "ops/reference.h"

namespace reckon::ops {
namespace {

HostTensors mse_loss(const ReferenceCall& c) {
  const HostTensor& x = c.in[mse_loss_in::x];
  const Eigen::ArrayXd squares = (x.flat() - c.in[mse_loss_in::target].flat()).square();
  switch (c.as<MseAttrs>().reduction) {
    case Reduction::none:
      return {shaped(x.shape, squares)};
    case Reduction::sum:
      return {{{}, {squares.sum()}}};
    default:
      return {{{}, {squares.mean()}}};
  }
}

HostTensors mse_loss_backward(const ReferenceCall& c) {
  const Reduction reduction = c.as<MseAttrs>().reduction;
  const HostTensor &g = c.in[mse_loss_backward_in::g], &x = c.in[mse_loss_backward_in::x];
  const Eigen::ArrayXd slope = 2 * (x.flat() - c.in[mse_loss_backward_in::target].flat());
  if (reduction == Reduction::none) return {shaped(x.shape, slope * g.flat())};
  return {shaped(x.shape,
                 slope * g.values[0] / (reduction == Reduction::mean ? static_cast<double>(x.numel()) : 1.0))};
}

}  // namespace

std::vector<OpReference> mse_loss_references() {
  return {{.op = "mse_loss", .compute = mse_loss, .golden = {"ops/mse_a.safetensors"}},
          {.op = "mse_loss_backward", .compute = mse_loss_backward, .golden = {"ops/mse_a.safetensors"}}};
}

}  // namespace reckon::ops
