// Root-mean-square norm (Zhang and Sennrich, arXiv:1910.07467) over the last axis, and its gradients.
#include <cmath>

#include "ops/reference.h"
#include "ops/rms_norm/rms_norm_attrs.h"

namespace reckon::ops {
namespace {

HostTensors rms_norm(const ReferenceCall& c) {
  const HostTensor &x = c.in[rms_norm_in::x], &weight = c.in[rms_norm_in::weight];
  HostTensor y(x.shape), rstd(x.shape.slice(0, x.shape.rank() - 1));
  for (int64_t r = 0; r < x.n_rows(); ++r) {
    const RowArray row = x.rows().row(r);
    rstd.values[r] = 1 / std::sqrt(row.square().mean() + c.as<RmsNormAttrs>().eps);
    y.rows().row(r) = row * rstd.values[r] * weight.flat().transpose();
  }
  return {y, rstd};
}

// With n = x rstd and u = g weight, where rstd depends on x:
//   dx = rstd (u - n mean(u n)),  dweight = sum over rows of g n
HostTensors rms_norm_backward(const ReferenceCall& c) {
  using namespace rms_norm_backward_in;
  HostTensor dx(c.in[x].shape), dweight(c.in[weight].shape);
  for (int64_t r = 0; r < c.in[x].n_rows(); ++r) {
    const RowArray g_row = c.in[g].rows().row(r), n = c.in[x].rows().row(r).array() * c.in[rstd].values[r];
    const RowArray u = g_row * c.in[weight].flat().transpose();
    dx.rows().row(r) = c.in[rstd].values[r] * (u - n * (u * n).mean());
    dweight.flat() += (g_row * n).transpose();
  }
  return {dx, dweight};
}

}  // namespace

std::vector<OpReference> rms_norm_references() {
  return {{.op = "rms_norm",
           .compute = rms_norm,
           .golden = {"ops/rms_norm_a.safetensors", "ops/rms_norm_tiny_rows.safetensors"}},
          {.op = "rms_norm_backward", .compute = rms_norm_backward, .golden = {"ops/rms_norm_a.safetensors"}}};
}

}  // namespace reckon::ops
