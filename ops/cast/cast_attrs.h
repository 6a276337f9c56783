// What a cast is asked for. Read by the plans and by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

inline constexpr int kMostCasts = 256;  // of one cast_all

struct CastAttrs : Attrs {
  explicit CastAttrs(DType to_) : to(to_) {}
  DType to;
};

}  // namespace reckon::ops
