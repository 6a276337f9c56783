// y = x W^T + b: x [.., in], W [out, in], b [out] or absent -> [.., out]. Keeps x (not W: a parameter is kept
// anyway). Backward runs two matrix products and, with a bias, one sum.
#pragma once

#include "ops/op.h"

namespace reckon::ops {

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

}  // namespace reckon::ops
