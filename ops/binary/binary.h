// Elementwise arithmetic of two tensors with broadcasting, and of a tensor with a constant. Mixed float types
// give the wider one. Keeps for backward only the operand the other one's gradient needs.
#pragma once

#include "ops/op.h"

namespace reckon::ops {

Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor div(const Tensor& a, const Tensor& b);
Tensor affine(const Tensor& x, double scale, double shift);  // scale * x + shift
Tensor scale(const Tensor& x, double factor);

// Writes a += b into a's storage; no gradient. Shapes must be equal, a contiguous.
void accumulate(Tensor& a, const Tensor& b);

}  // namespace reckon::ops
