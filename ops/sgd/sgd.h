// Stochastic gradient descent with momentum, one in-place op per tensor:
//   g = scale * grad + weight_decay * p
//   buffer = momentum * buffer + (1 - dampening) * g (the first step: buffer = g)
//   p -= lr * (nesterov ? g + momentum * buffer : buffer)
// Called by optimizers; no gradient, no value read on the host.
#pragma once

#include "ops/op.h"
#include "ops/sgd/sgd_attrs.h"

namespace reckon::ops {

// `momentum_buffer` may be undefined when momentum is 0. grad_scale [1], optional: multiplies the gradient.
// skip [1], optional: non-zero leaves everything unchanged.
void sgd(Tensor& param, const Tensor& grad, Tensor& momentum_buffer, const SgdSettings& settings,
         const Tensor& grad_scale = {}, const Tensor& skip = {});

}  // namespace reckon::ops
