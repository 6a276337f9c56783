#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

inline constexpr int kConcatPartsPerLaunch = 16;  // of a GPU

struct ConcatAttrs : Attrs {
  explicit ConcatAttrs(int a) : axis(a) {}
  int axis;
};

}  // namespace reckon::ops
