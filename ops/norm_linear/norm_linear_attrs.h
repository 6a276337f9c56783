// What norm_linear and its backward op are asked for. Read by the plans and by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"
#include "ops/kernel/plan/norm_kind.h"

namespace reckon::ops {

struct NormLinearAttrs : Attrs {
  NormLinearAttrs(NormKind k, double e, uint32_t n = 0) : kind(k), eps(e), needs(n) {}
  NormKind kind;
  double eps;
  uint32_t needs;  // backward: the inputs of the forward op whose gradients are wanted
};

}  // namespace reckon::ops
