// Settings of an AdamW or Adam update, and the factors that its kernels multiply with, worked out once on the
// host. Read by the plan and by the kernels of CPU and GPU.
#pragma once

#include <cmath>

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

// Positions of inputs. `skip` and `factors` may be absent everywhere, as may adamw_all's gradient scale.
namespace scale_in_place_in {
enum Input : int { target, skip };
}
namespace lerp_in {  // and lerp_square
enum Input : int { target, to, skip };
}
namespace scaled_sum_in {
enum Input : int { a, b };
}
namespace adam_factors_in {
enum Input : int { updates, skip };
}
namespace denominator_in {
enum Input : int { exp_avg_sq, factors };
}
namespace add_quotient_in {
enum Input : int { target, numerator, denominator, skip, factors };
}
// Of adamw_all: lists of one length, four and where updates are counted a fifth, then two scalars.
struct AdamWInputs {
  size_t n_lists, n_tensors;
  RECKON_INLINE constexpr AdamWInputs(size_t n_inputs, bool counts)
      : n_lists(counts ? 5 : 4), n_tensors((n_inputs - 2) / n_lists) {}
  RECKON_INLINE constexpr size_t param(size_t k) const { return k; }
  RECKON_INLINE constexpr size_t grad(size_t k) const { return n_tensors + k; }
  RECKON_INLINE constexpr size_t exp_avg(size_t k) const { return 2 * n_tensors + k; }
  RECKON_INLINE constexpr size_t exp_avg_sq(size_t k) const { return 3 * n_tensors + k; }
  RECKON_INLINE constexpr size_t updates(size_t k) const { return 4 * n_tensors + k; }
  RECKON_INLINE constexpr size_t grad_scale() const { return n_lists * n_tensors; }
  RECKON_INLINE constexpr size_t skip() const { return grad_scale() + 1; }
};

// Of a GPU: as many as a launch's parameters hold.
inline constexpr int kAdamWTensorsPerLaunch = 600, kAdamWCountsPerLaunch = 3000;

struct AdamWSettings {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.01;
  int64_t step = 1;       // the number of this update, from 1: the bias corrections are 1 - beta^step
  bool decoupled = true;  // false: Adam, the decay is added to the gradient
};

// What follows from the number of the update.
struct AdamWFactors {
  double root;        // 1 / sqrt(1 - beta2^step)
  double minus_step;  // -lr / (1 - beta1^step)
};
struct AdamWCorrection {
  double lr, beta1, beta2;
  RECKON_INLINE AdamWFactors at(double step) const {
    return {1 / ::sqrt(1 - ::pow(beta2, step)), -lr / (1 - ::pow(beta1, step))};
  }
};

struct AdamFactorsAttrs : Attrs {
  explicit AdamFactorsAttrs(const AdamWSettings& s) : correction{s.lr, s.beta1, s.beta2} {}
  AdamWCorrection correction;
};

// What the kernels multiply with, worked out once in double.
struct AdamWAttrs : Attrs {
  // `counts_updates`: the number of the update is in device memory, settings.step is not read.
  explicit AdamWAttrs(const AdamWSettings& s, bool counts_updates = false);
  bool counts_updates;
  bool decays_param, decays_grad;
  double param_factor;      // 1 - lr * weight_decay
  double grad_decay;        // weight_decay, of Adam with L2
  double weight1, weight2;  // 1 - beta1, 1 - beta2
  double eps;
  AdamWCorrection correction;
  AdamWFactors factors;  // unless the updates are counted
};

// Numbers of one small in-place step.
struct StepAttrs : Attrs {
  explicit StepAttrs(double factor_, double shift_ = 0) : factor(factor_), shift(shift_) {}
  double factor, shift;
};

}  // namespace reckon::ops
