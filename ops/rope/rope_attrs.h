// What rope is asked for; backward is the same op with the opposite angle. Read by the plan and
// by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

// Positions of inputs.
namespace rope_in {
enum Input : int { x, positions };
}

struct RopeAttrs : Attrs {
  RopeAttrs(double log_theta_, bool inverse_) : log_theta(log_theta_), inverse(inverse_) {}
  double log_theta;
  bool inverse;  // turns by the negative angle
};

}  // namespace reckon::ops
