// x where the mask is zero, `value` where it is not. The mask is u8 or a float type and broadcasts to x's
// shape; the result has x's shape and type. Keeps the mask alone.
#pragma once

#include "ops/op.h"

namespace reckon::ops {

Tensor masked_fill(const Tensor& x, const Tensor& mask, double value);

}  // namespace reckon::ops
