// The axis of a concat, and how many parts one GPU launch takes. Read by the plan and
// by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

inline constexpr int kConcatPartsPerLaunch = 16;  // of a GPU

struct ConcatAttrs : Attrs {
  explicit ConcatAttrs(int a) : axis(a) {}
  int axis;
};

}  // namespace reckon::ops
