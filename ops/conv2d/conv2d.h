// Two-dimensional convolution (cross-correlation): x [N, C, H, W], weight [O, C / groups, kh, kw], bias [O] or
// absent -> [N, O, Ho, Wo], Ho = (H + 2 padding - dilation (kh - 1) - 1) / stride + 1. Matrix products over
// tiles of unfolded columns: the workspace holds one tile, never the whole unfolded input. Keeps x and weight;
// 2 N O Ho Wo (C / groups) kh kw FLOPs forward and as much for each of the two gradients.
#pragma once

#include "ops/op.h"

namespace reckon::ops {

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {}, const Dims& stride = {1, 1},
              const Dims& padding = {0, 0}, const Dims& dilation = {1, 1}, int64_t groups = 1);

}  // namespace reckon::ops
