// silu(gate) * up = gate * sigmoid(gate) * up, of two tensors of one shape in any strides (halves of one
// product, for example). Keeps both inputs, not the sigmoid.
#pragma once

#include "ops/op.h"

namespace reckon::ops {

Tensor swiglu(const Tensor& gate, const Tensor& up);

}  // namespace reckon::ops
