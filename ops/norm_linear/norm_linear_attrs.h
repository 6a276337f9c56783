#pragma once

#include "ops/kernel/norm_kind.h"
#include "ops/kernel_args.h"

namespace reckon::ops {

struct NormLinearAttrs : Attrs {
  NormLinearAttrs(NormKind k, double e, uint32_t n = 0) : kind(k), eps(e), needs(n) {}
  NormKind kind;
  double eps;
  uint32_t needs;  // backward: the inputs of the forward op whose gradients are wanted
};

}  // namespace reckon::ops
