// The axes of a sum and the type of its result. Read by the plan and by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

struct SumAttrs : Attrs {
  SumAttrs(uint32_t mask, bool keep, bool wide_ = false, double divisor_ = 1)
      : axes(mask), keep_axes(keep), wide(wide_), divisor(divisor_) {}
  uint32_t axes;  // bit i: axis i is summed
  bool keep_axes;
  bool wide;       // the result stays in the type of the sum: f32, or f64 for f64
  double divisor;  // of the sum, before it is rounded to the result's type
  RECKON_INLINE bool divides() const { return divisor != 1; }
};

}  // namespace reckon::ops
