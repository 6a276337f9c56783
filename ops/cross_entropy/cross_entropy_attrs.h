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
  enum : int { loss, statistics };
};
struct CrossEntropyBackwardInput {
  enum : int { dloss, logits, targets, statistics };
};

// What backward keeps of a row of logits, [2, ..]: the maximum, then the logarithm of the sum of exp(logit -
// maximum); 0 and 0 where the row is ignored. They stay apart: in one number a common offset of the logits
// would swallow the logarithm.
inline constexpr int64_t kLossStatistics = 2;

struct CrossEntropyAttrs : Attrs {
  CrossEntropyAttrs(Reduction r, int64_t ignore) : reduction(r), ignore_index(ignore) {}
  Reduction reduction;
  int64_t ignore_index;
};

}  // namespace reckon::ops
