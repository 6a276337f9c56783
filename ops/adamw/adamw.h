// AdamW (decay first, then the moments) and Adam with L2 decay, in two forms that give the same bits in f32 and
// f64: `adamw_eager`, small in-place ops per tensor with transient buffers, as a plain framework runs it, and
// `adamw_all`, one launch and one pass over memory for all tensors. Called by optimizers under
// Phase::optimizer; nothing here reads a value on the host.
#pragma once

#include <span>

#include "ops/adamw/adamw_attrs.h"
#include "ops/op.h"

namespace reckon::ops {

// Shapes of param, grad, exp_avg and exp_avg_sq are equal; all but the gradient are contiguous and written.
// grad_scale [1], optional: multiplies the gradient. skip [1], optional: non-zero leaves everything unchanged.
// A weight decay of 0 runs no decay. updates f32 or f64 [1], optional: how many updates were made; it is advanced
// unless the update is skipped, and settings.step is not read. It is for updates that `skip` decides on, which the
// host cannot count.
void adamw_eager(Tensor& param, const Tensor& grad, Tensor& exp_avg, Tensor& exp_avg_sq,
                 const AdamWSettings& settings, const Tensor& grad_scale = {}, const Tensor& skip = {},
                 const Tensor& updates = {});

// The same for lists of equal length (`updates` may be empty); needs no buffer but a copy of gradients that are not
// contiguous.
void adamw_all(std::span<const Tensor> params, std::span<const Tensor> grads, std::span<const Tensor> exp_avg,
               std::span<const Tensor> exp_avg_sq, const AdamWSettings& settings, const Tensor& grad_scale = {},
               const Tensor& skip = {}, std::span<const Tensor> updates = {});

}  // namespace reckon::ops
