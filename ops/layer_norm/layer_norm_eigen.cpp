// Layer norm (Ba, Kiros and Hinton, arXiv:1607.06450) over the last axis, biased variance, and its gradients.
#include <cmath>

#include "ops/layer_norm/layer_norm_attrs.h"
#include "ops/reference.h"

namespace reckon::ops {
namespace {

HostTensors layer_norm(const ReferenceCall& c) {
  const HostTensor &x = c.in[layer_norm_in::x], &weight = c.in[layer_norm_in::weight],
                   &bias = c.in[layer_norm_in::bias];
  const Shape per_row = x.shape.slice(0, x.shape.rank() - 1);
  HostTensor y(x.shape), mean(per_row), rstd(per_row);
  for (int64_t r = 0; r < x.n_rows(); ++r) {
    const RowArray row = x.rows().row(r);
    mean.values[r] = row.mean();
    rstd.values[r] = 1 / std::sqrt((row - row.mean()).square().mean() + c.as<LayerNormAttrs>().eps);
    RowArray out = (row - mean.values[r]) * rstd.values[r];
    if (weight.defined) out *= weight.flat().transpose();
    if (bias.defined) out += bias.flat().transpose();
    y.rows().row(r) = out;
  }
  return {y, mean, rstd};
}

// With n = (x - mean) rstd and u = g weight, where mean and rstd depend on x:
//   dx = rstd (u - mean(u) - n mean(u n)),  dweight = sum over rows of g n,  dbias = sum over rows of g
HostTensors layer_norm_backward(const ReferenceCall& c) {
  using namespace layer_norm_backward_in;
  const auto& wanted = c.as<LayerNormBackwardAttrs>();
  HostTensor dx(c.in[x].shape), dweight({c.in[x].last()}), dbias({c.in[x].last()});
  for (int64_t r = 0; r < c.in[x].n_rows(); ++r) {
    const RowArray g_row = c.in[g].rows().row(r);
    const RowArray n = (c.in[x].rows().row(r).array() - c.in[mean].values[r]) * c.in[rstd].values[r];
    RowArray u = g_row;
    if (c.in[weight].defined) u *= c.in[weight].flat().transpose();
    dx.rows().row(r) = c.in[rstd].values[r] * (u - u.mean() - n * (u * n).mean());
    dweight.flat() += (g_row * n).transpose();
    dbias.flat() += g_row.transpose();
  }
  HostTensors out;
  if (wanted.dx) out.push_back(dx);
  if (wanted.dweight) out.push_back(dweight);
  if (wanted.dbias) out.push_back(dbias);
  return out;
}

}  // namespace

std::vector<OpReference> layer_norm_references() {
  return {{.op = "layer_norm",
           .compute = layer_norm,
           .golden = {"ops/layer_norm_a.safetensors", "ops/layer_norm_noaffine.safetensors"}},
          {.op = "layer_norm_backward",
           .compute = layer_norm_backward,
           .golden = {"ops/layer_norm_a.safetensors"}}};
}

}  // namespace reckon::ops
