// Softmax, its logarithm, and log(sum(exp)), over one axis (another than the last one goes through views and a
// row-major copy). Computed in f32 (f64 for f64) after subtracting the row's maximum; a row of -infinity gives
// NaN, except in logsumexp, where it gives -infinity, as a row with +infinity gives +infinity there. softmax and
// log_softmax keep their output for backward; logsumexp its input and two numbers per row (softmax_inputs.h).
#pragma once

#include "ops/op.h"

namespace reckon::ops {

Tensor softmax(const Tensor& x, int axis = -1);
Tensor log_softmax(const Tensor& x, int axis = -1);
Tensor logsumexp(const Tensor& x, int axis = -1);  // without that axis

}  // namespace reckon::ops
