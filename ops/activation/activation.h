// Elementwise functions of one tensor: relu, sigmoid, tanh, exp, log, sqrt, silu, gelu (erf form),
// gelu_tanh, abs, cos. Any shape and strides; the result is contiguous and of the input's type. Each
// keeps one tensor for backward: its output where the derivative is a function of it (relu, sigmoid,
// tanh, exp, sqrt), else its input.
#pragma once

#include "ops/op.h"

namespace reckon::ops {

Tensor relu(const Tensor& x);
Tensor sigmoid(const Tensor& x);
Tensor tanh(const Tensor& x);
Tensor exp(const Tensor& x);
Tensor log(const Tensor& x);
Tensor sqrt(const Tensor& x);
Tensor silu(const Tensor& x);       // x * sigmoid(x)
Tensor gelu(const Tensor& x);       // x * Phi(x), by erf
Tensor gelu_tanh(const Tensor& x);  // the tanh approximation
Tensor abs(const Tensor& x);        // gradient at 0: that of -x
Tensor cos(const Tensor& x);

}  // namespace reckon::ops
