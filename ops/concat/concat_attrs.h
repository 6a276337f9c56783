#pragma once

#include "ops/kernel_args.h"

namespace reckon::ops {

struct ConcatAttrs : Attrs {
  explicit ConcatAttrs(int a) : axis(a) {}
  int axis;
};

}  // namespace reckon::ops
