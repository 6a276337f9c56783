// What a slice is asked for. Apart from view_attrs.h because the GPU kernel reads
// it too, which sees no tensors.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

struct SliceAttrs : Attrs {
  SliceAttrs(int axis_, int64_t first_, int64_t last_) : axis(axis_), first(first_), last(last_) {}
  int axis;
  int64_t first, last;  // of a pad: `last` is the full extent
};

}  // namespace reckon::ops
