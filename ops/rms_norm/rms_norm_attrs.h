#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

struct RmsNormAttrs : Attrs {
  explicit RmsNormAttrs(double e) : eps(e) {}
  double eps;
};

}  // namespace reckon::ops
