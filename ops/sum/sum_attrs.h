#pragma once

#include "ops/kernel_args.h"

namespace reckon::ops {

struct SumAttrs : Attrs {
  SumAttrs(uint32_t mask, bool keep) : axes(mask), keep_axes(keep) {}
  uint32_t axes;  // bit i: axis i is summed
  bool keep_axes;
};

}  // namespace reckon::ops
