// What the transitions and their backward ops are asked for. Read by the plans and
// by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

struct TransitionAttrs : Attrs {
  explicit TransitionAttrs(double e, uint32_t n = 0) : eps(e), needs(n) {}
  double eps;
  uint32_t needs;  // backward: the inputs of the forward op whose gradients are wanted
};

}  // namespace reckon::ops
