// x * sigmoid(gate), of two tensors of one shape in any strides. Keeps both inputs, not the sigmoid.
#pragma once

#include "ops/op.h"

namespace reckon::ops {

Tensor mul_sigmoid(const Tensor& x, const Tensor& gate);

}  // namespace reckon::ops
