// What the clip coefficient is asked for. Read by the plans and by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

struct ClipAttrs : Attrs {
  explicit ClipAttrs(double m) : max_norm(m) {}
  double max_norm;
};

}  // namespace reckon::ops
