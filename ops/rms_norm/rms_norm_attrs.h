// What rms_norm and its backward op are asked for. Read by the plans and by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

struct RmsNormAttrs : Attrs {
  explicit RmsNormAttrs(double e) : eps(e) {}
  double eps;
};

}  // namespace reckon::ops
