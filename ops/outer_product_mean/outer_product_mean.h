// Outer product mean: a, b [B, S, R, c], already masked; z_ij = sum over s of a_si (x) b_sj, flattened a-major,
// projected by weight [c_z, c c] (+ bias [c_z]) -> [B, R, R, c_z] in the weight's type. The [R, R, c, c]
// product exists only in tiles of a few MiB, or not at all where projecting a first costs fewer FLOPs. Keeps a,
// b, the weight and the mask.
#pragma once

#include "ops/op.h"
#include "ops/outer_product_mean/outer_product_mean_options.h"

namespace reckon::ops {

// mask [B, S, R] of 0 and 1, or undefined: count_ij = sum over s of m_si m_sj, or S.
Tensor outer_product_mean(const Tensor& a, const Tensor& b, const Tensor& weight, const Tensor& bias,
                          const Tensor& mask, const OuterProductMeanOptions& options);

}  // namespace reckon::ops
