// The whole triangle multiplication of AF2 and AF3 as one op. z [B, R, R, c_z] ->
// [B, R, R, c_z]; with x = LN(z):
//   a = mask * sigmoid(W_ag x + b_ag) * (W_a x + b_a), b likewise     w_a, w_ag, w_b, w_bg [c, c_z]
//   t_ij = sum over k of a_ik b_jk (outgoing) or a_ki b_kj (incoming), channel by channel
//   out = (W_z LN(t) + b_z) * sigmoid(W_g x + b_g)                    w_z [c_out, c], w_g [c_out, c_z]
// Weights and biases share one type, which is the output's; z may be wider. Keeps z, the four projections
// before their gates (4c per position), t (c), the output projection and its gate before the sigmoid (2 c_out)
// and four f32 statistics; rebuilds x, a, b, the sigmoids and LN(t). Nothing grows with R^3.
#pragma once

#include "ops/op.h"

namespace reckon::ops {

struct TriangleMultiplyWeights {
  Tensor ln_in_w, ln_in_b;
  Tensor w_a, b_a, w_ag, b_ag, w_b, b_b, w_bg, b_bg;  // biases may be undefined
  Tensor ln_out_w, ln_out_b;
  Tensor w_z, b_z, w_g, b_g;
};

// mask [B, R, R] or undefined.
Tensor triangle_multiply(const Tensor& z, const Tensor& mask, const TriangleMultiplyWeights& weights,
                         bool outgoing, double eps);

}  // namespace reckon::ops
