// The two-layer perceptrons of transformer blocks as one op each, by tiles of rows. x [.., c]; weights and
// biases share one type, which is the output's; x may be wider. Where no input needs a gradient the hidden
// activations never exist whole.
#pragma once

#include "ops/op.h"

namespace reckon::ops {

// W2 relu(W1 LN(x) + b1) + b2: w1 [h, c], w2 [out, h]; biases may be undefined. Keeps x, two f32 statistics per
// row and the relu's output (h per row).
Tensor relu_transition(const Tensor& x, const Tensor& ln_weight, const Tensor& ln_bias, const Tensor& w1,
                       const Tensor& b1, const Tensor& w2, const Tensor& b2, double eps);

// W_o (silu(W_a n) * (W_b n)), n = LN(x), or x itself when `ln_weight` is undefined: w_a, w_b [h, c], w_o [out,
// h]. Keeps x, the statistics and the two projections (2h per row), neither n nor the product.
Tensor swiglu_transition(const Tensor& x, const Tensor& ln_weight, const Tensor& ln_bias, const Tensor& w_a,
                         const Tensor& w_b, const Tensor& w_o, double eps);

}  // namespace reckon::ops
