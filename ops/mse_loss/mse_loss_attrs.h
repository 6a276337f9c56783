// What mse_loss and its backward op are asked for, and the length of a piece of the sum. Read by the plans and
// by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"
#include "ops/reduction.h"

namespace reckon::ops {

// Positions of inputs.
namespace mse_loss_in {
enum Input : int { x, target, n_inputs };
}
namespace mse_loss_backward_in {
enum Input : int { g, x, target };
}

struct MseAttrs : Attrs {
  explicit MseAttrs(Reduction r) : reduction(r) {}
  Reduction reduction;
};

// Elements summed as one piece, whatever the number of threads.
inline constexpr int64_t kMsePiece = 8192;

}  // namespace reckon::ops
