// The type a matrix product is computed in. Read by matmul's plan and kernels.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

struct MatmulAttrs : Attrs {
  explicit MatmulAttrs(DType product_) : product(product_) {}
  DType product;
};

}  // namespace reckon::ops
