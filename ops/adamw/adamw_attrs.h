// Settings of an AdamW or Adam update, and the factors that its kernels multiply with, worked out once on the
// host. Read by the plan and by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

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
