#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

struct AffineAttrs : Attrs {
  AffineAttrs(double scale_, double shift_) : scale(scale_), shift(shift_) {}
  double scale, shift;
};

}  // namespace reckon::ops
