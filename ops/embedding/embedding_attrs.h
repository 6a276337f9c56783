// Positions of inputs, and what the gradient's plan knows of the table. For plans, kernels and references.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

namespace embedding_in {
enum Input : int { ids, table };
}
namespace embedding_backward_in {
enum Input : int { g, ids };
}

// The table's extent and type.
struct EmbeddingBackwardAttrs : Attrs {
  EmbeddingBackwardAttrs(int64_t rows, DType type) : vocabulary(rows), dtype(type) {}
  int64_t vocabulary;
  DType dtype;
};

}  // namespace reckon::ops
