// The two axes of a diagonal. Read by the plan and by the GPU kernel of its gradient.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

struct DiagonalAttrs : Attrs {
  DiagonalAttrs(int f, int s) : first(f), second(s) {}
  int first, second;  // axes of the larger tensor, first < second
};

}  // namespace reckon::ops
