// The rule by which a loss scale grows and falls. Read by the plan and by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

// Positions of inputs; non_finite takes a list.
namespace scaler_update_in {
enum Input : int { scale, tracker, found_inf, n_inputs };
}

struct ScalerAttrs : Attrs {
  ScalerAttrs(double g, double b, int64_t n) : growth(g), backoff(b), interval(n) {}
  double growth, backoff;
  int64_t interval;
};

}  // namespace reckon::ops
