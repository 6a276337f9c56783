// Several linear layers that read one norm: n = norm(x), y_i = n W_i^T + b_i. x [.., c], W_i [out_i, c], b_i
// [out_i] or undefined -> y_i [.., out_i] in W_i's type. Keeps x, the norm's weights, one or two f32 statistics
// per row and the W_i, but not n, which backward rebuilds. Weights and biases share one type; x may be wider.
#pragma once

#include "ops/kernel/plan/norm_kind.h"
#include "ops/op.h"

namespace reckon::ops {

// `norm_bias` is undefined for rms (and may be for layer). `biases` is as long as `weights`, or empty. At least
// one linear; one op call for every 14 of them.
TensorList norm_linear(const Tensor& x, NormKind kind, const Tensor& norm_weight, const Tensor& norm_bias,
                       double eps, std::span<const Tensor> weights, std::span<const Tensor> biases);

}  // namespace reckon::ops
