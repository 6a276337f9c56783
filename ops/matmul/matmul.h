// Matrix product with batch axes that broadcast: a [.., m, k] x b [.., k, n] -> [.., m, n]. Operands
// may have any strides (a transposed view costs nothing) and float types; sums are f32, or f64 for
// f64. 2*m*n*k FLOPs per product.
#pragma once

#include "ops/op.h"

namespace reckon::ops {

Tensor matmul(const Tensor& a, const Tensor& b);
// The product as `product`, such as f32 of bf16 operands.
Tensor matmul(const Tensor& a, const Tensor& b, DType product);

}  // namespace reckon::ops
