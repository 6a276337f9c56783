#pragma once

#include "ops/kernel_args.h"

namespace reckon::ops {

struct CastAttrs : Attrs {
  explicit CastAttrs(DType to_) : to(to_) {}
  DType to;
};

}  // namespace reckon::ops
