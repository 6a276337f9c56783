// Root-mean-square norm over the last axis: y = w * x / sqrt(mean(x^2) + eps), x [.., c], w [c]. Statistics in
// f32 (f64 for f64). Keeps x, w and one reciprocal root per row.
#pragma once

#include "ops/op.h"

namespace reckon::ops {

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps);

}  // namespace reckon::ops
