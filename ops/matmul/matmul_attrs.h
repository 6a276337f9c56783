// The type a matrix product is computed in. Read by matmul's plan and kernels.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

// Positions of inputs.
struct MatmulInput {
  enum : int { a, b, n_inputs };
};

struct MatmulAttrs : Attrs {
  explicit MatmulAttrs(DType product_) : product(product_) {}
  DType product;
};

}  // namespace reckon::ops
