// Sums over axes, in f32 (f64 for f64), result in the input's type; `sum_wide` leaves it as it was summed.
// `sum_over` divides before it rounds: a mean in 16 bits stands though its sum would not fit.
// Keeps nothing for backward.
#pragma once

#include "ops/op.h"

namespace reckon::ops {

Tensor sum(const Tensor& x, const Dims& axes, bool keep_axes = false);
Tensor sum_over(const Tensor& x, const Dims& axes, bool keep_axes, double divisor);
Tensor sum_wide(const Tensor& x, const Dims& axes);
Tensor sum_all(const Tensor& x);  // shape []

// Sums over the axes that broadcasting added, so that the result has `shape`.
Tensor sum_to(const Tensor& t, const Shape& shape);

}  // namespace reckon::ops
