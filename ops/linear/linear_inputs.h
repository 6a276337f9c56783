// Positions of linear's inputs, for its plan, kernels, backward and reference.
#pragma once

namespace reckon::ops {

struct LinearInput {
  enum : int { x, weight, bias, n_inputs };
};

}  // namespace reckon::ops
