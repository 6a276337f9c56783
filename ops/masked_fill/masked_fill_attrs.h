#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

struct MaskedFillAttrs : Attrs {
  explicit MaskedFillAttrs(double v) : value(v) {}
  double value;
};

}  // namespace reckon::ops
