// Device-side pieces of loss scaling: whether any gradient is infinite or NaN, and the rule that moves the
// scale. A training step multiplies gradients by 1/scale, hands `non_finite` to the optimizer as its skip flag,
// then calls `scaler_update`; no value is read on the host, so a dry run takes the same path. No gradient.
#pragma once

#include <span>

#include "ops/op.h"

namespace reckon::ops {

// f32 [1]: 1 when any element is infinite or NaN, else 0.
Tensor non_finite(std::span<const Tensor> grads);

// scale f32 [1], growth_tracker i64 [1]: in place. found_inf non-zero: scale *= backoff, tracker = 0. Else
// tracker += 1, and when it reaches `interval`: tracker = 0 and scale *= growth unless that is not finite.
void scaler_update(Tensor& scale, Tensor& growth_tracker, const Tensor& found_inf, double growth,
                   double backoff, int64_t interval);

}  // namespace reckon::ops
