// Layer norm over the last axis: y = (x - mean) / sqrt(variance + eps) * weight + bias, with the biased
// variance. x is [.., c]; weight and bias are [c], each may be undefined. Statistics in f32 (f64 for f64).
// Keeps x, weight and two statistics per row; nothing when only the bias needs a gradient.
#pragma once

#include "ops/op.h"

namespace reckon::ops {

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps);

}  // namespace reckon::ops
