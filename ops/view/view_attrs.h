// What permutations and reshapes are asked for. Read by the views' plans and by their CPU kernels.
#pragma once

#include "ops/kernel/kernel_args.h"
#include "ops/view/slice_attrs.h"
#include "runtime/core/shape.h"

namespace reckon::ops {

struct AxesAttrs : Attrs {
  explicit AxesAttrs(Dims d) : dims(d) {}
  Dims dims;  // axes of a permutation, or a shape
};

}  // namespace reckon::ops
