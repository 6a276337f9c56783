// What the ops on slices by index are asked for. Read by their plans and by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

// Positions of inputs; one_hot takes ids alone, scatter_add's x may be absent.
namespace index_select_in {
enum Input : int { x, ids };
}
namespace scatter_add_in {
enum Input : int { x, ids, src, n_inputs };
}

struct IndexAttrs : Attrs {
  IndexAttrs(int axis_, int64_t extent_) : axis(axis_), extent(extent_) {}
  int axis;
  int64_t extent;  // of the axis that indices point into
};

struct OneHotAttrs : Attrs {
  OneHotAttrs(int64_t n, DType t) : n_classes(n), dtype(t) {}
  int64_t n_classes;
  DType dtype;
};

}  // namespace reckon::ops
