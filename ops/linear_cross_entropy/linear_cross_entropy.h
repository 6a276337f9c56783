// cross_entropy(linear(x, weight), targets) without the logits: x [T, H], weight [V, H], targets i64 [T] -> one
// number in f32 (f64 for f64). Tiles of at most 512 rows x 2048 classes go through the matrix product into a
// workspace, with a running logsumexp. A target equal to ignore_index counts neither in the sum nor in the mean
// (no counted target: NaN); any other target outside [0, V) is an Error. Called by language-model heads.
//
// Keeps x, weight, targets and two f32 per row. Backward builds the logits again tile by tile, classes
// outermost, so that a tile of weight gradients is summed in f32 before it is rounded; with a 16-bit x the sum
// for dx is [T, H] in f32. With bf16 operands the gradient of the logits is rounded to bf16, as the eager chain
// does. FLOPs: forward 2 T V H in products, backward 2 T V H for each of logits, dx, dweight.
#pragma once

#include "ops/op.h"
#include "ops/reduction.h"

namespace reckon::ops {

// `reduction`: mean or sum.
Tensor linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& targets, Reduction reduction,
                            int64_t ignore_index = -100);

}  // namespace reckon::ops
