// The joint 2-norm of a list of gradients, the coefficient that clips it, and the product of a list with a
// factor. `grad_norm` reads all tensors in one launch (on a GPU 1024 at a time); `grad_norm_eager` runs an op
// per tensor. Both give the same bits, for any number of threads. Called by the training step; no value is
// read on the host, no gradient.
#pragma once

#include <span>

#include "ops/op.h"

namespace reckon::ops {

// f32 [1] (f64 when a gradient is f64).
Tensor grad_norm_eager(std::span<const Tensor> grads);
Tensor grad_norm(std::span<const Tensor> grads);

// min(1, max_norm / (norm + 1e-6)), [1] of norm's type. A NaN norm stays NaN.
Tensor clip_coefficient(const Tensor& norm, double max_norm);

// Multiplies every tensor in place by factor [1]; one launch. Tensors must be contiguous.
void scale_all_(std::span<Tensor> tensors, const Tensor& factor);

}  // namespace reckon::ops
