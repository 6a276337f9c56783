// What cross_entropy and its backward op are asked for. Read by their plans and by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"
#include "ops/reduction.h"

namespace reckon::ops {

// Positions of inputs and outputs.
struct CrossEntropyInput {
  enum : int { logits, targets };
};
struct CrossEntropyOutput {
  enum : int { loss, logsumexp };
};
struct CrossEntropyBackwardInput {
  enum : int { dloss, logits, targets, logsumexp };
};

struct CrossEntropyAttrs : Attrs {
  CrossEntropyAttrs(Reduction r, int64_t ignore) : reduction(r), ignore_index(ignore) {}
  Reduction reduction;
  int64_t ignore_index;
};

}  // namespace reckon::ops
