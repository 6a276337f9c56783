// What rms_norm and its backward op are asked for. Read by the plans and by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

// Positions of inputs.
namespace rms_norm_in {
enum Input : int { x, weight };
}
namespace rms_norm_backward_in {
enum Input : int { g, x, weight, rstd };
}

struct RmsNormAttrs : Attrs {
  explicit RmsNormAttrs(double e) : eps(e) {}
  double eps;
};

}  // namespace reckon::ops
