// Settings of an SGD update. Read by the plan and by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

// Positions of inputs; all but the first two may be absent.
namespace sgd_in {
enum Input : int { param, grad, momentum_buffer, grad_scale, skip, n_inputs };
}

struct SgdSettings {
  double lr = 0.01, momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false;
  int64_t step = 1;  // of this update, from 1
};

struct SgdAttrs : Attrs {
  explicit SgdAttrs(const SgdSettings& settings) : s(settings) {}
  SgdSettings s;
};

}  // namespace reckon::ops
