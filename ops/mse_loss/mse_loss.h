// Squared difference of two tensors of one shape, per element, summed, or averaged over all elements; in f32
// (f64 for f64). Keeps both inputs.
#pragma once

#include "ops/op.h"
#include "ops/reduction.h"

namespace reckon::ops {

Tensor mse_loss(const Tensor& x, const Tensor& target, Reduction reduction);

}  // namespace reckon::ops
