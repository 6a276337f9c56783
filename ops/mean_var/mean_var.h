// Mean and variance over axes, composed of sums and elementwise ops: the variance is the mean square of the
// centred values, so nothing cancels. Computed in f32 (f64 for f64) and rounded once, to the input's type. The
// variance keeps the centred values for backward, in f32 for a 16-bit input.
#pragma once

#include "ops/op.h"

namespace reckon::ops {

Tensor mean(const Tensor& x, const Dims& axes, bool keep_axes = false);

struct MeanVar {
  Tensor mean, var;
};

// unbiased: divides by n - 1 instead of n.
MeanVar mean_var(const Tensor& x, const Dims& axes, bool unbiased = false, bool keep_axes = false);

}  // namespace reckon::ops
