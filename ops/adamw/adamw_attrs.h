// Settings of an AdamW or Adam update, and the factors that its kernels multiply with, worked out once on the
// host. Read by the plan and by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

// Positions of inputs. `skip` may be absent everywhere, as may adamw_all's gradient scale.
namespace scale_in_place_in {
enum Input : int { target, skip };
}
namespace lerp_in {  // and lerp_square
enum Input : int { target, to, skip };
}
namespace scaled_sum_in {
enum Input : int { a, b };
}
namespace add_quotient_in {
enum Input : int { target, numerator, denominator, skip };
}
// Of adamw_all: four lists of one length, then two scalars.
struct AdamWInputs {
  size_t n_tensors;
  RECKON_INLINE explicit constexpr AdamWInputs(size_t n_inputs) : n_tensors((n_inputs - 2) / 4) {}
  RECKON_INLINE constexpr size_t param(size_t k) const { return k; }
  RECKON_INLINE constexpr size_t grad(size_t k) const { return n_tensors + k; }
  RECKON_INLINE constexpr size_t exp_avg(size_t k) const { return 2 * n_tensors + k; }
  RECKON_INLINE constexpr size_t exp_avg_sq(size_t k) const { return 3 * n_tensors + k; }
  RECKON_INLINE constexpr size_t grad_scale() const { return 4 * n_tensors; }
  RECKON_INLINE constexpr size_t skip() const { return 4 * n_tensors + 1; }
};

inline constexpr int kAdamWTensorsPerLaunch = 600;  // of a GPU: as many as a launch's parameters hold

struct AdamWSettings {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.01;
  int64_t step = 1;       // of this update, from 1: the bias corrections are 1 - beta^step
  bool decoupled = true;  // false: Adam, the decay is added to the gradient
};

// What the kernels multiply with, worked out once in double.
struct AdamWAttrs : Attrs {
  explicit AdamWAttrs(const AdamWSettings& s);
  bool decays_param, decays_grad;
  double param_factor;      // 1 - lr * weight_decay
  double grad_decay;        // weight_decay, of Adam with L2
  double weight1, weight2;  // 1 - beta1, 1 - beta2
  double root_factor;       // 1 / sqrt(1 - beta2^step)
  double eps;
  double minus_step_size;  // -lr / (1 - beta1^step)
};

// Numbers of one small in-place step.
struct StepAttrs : Attrs {
  explicit StepAttrs(double factor_, double shift_ = 0) : factor(factor_), shift(shift_) {}
  double factor, shift;
};

}  // namespace reckon::ops
