// What layer_norm and its backward op are asked for, and how the rows are cut into pieces. Read by the plans
// and by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

struct LayerNormAttrs : Attrs {
  explicit LayerNormAttrs(double e) : eps(e) {}
  double eps;
};

// Which gradients the backward op makes; its outputs come in this order.
struct LayerNormBackwardAttrs : Attrs {
  LayerNormBackwardAttrs(bool x, bool w, bool b) : dx(x), dweight(w), dbias(b) {}
  bool dx, dweight, dbias;
};

// Rows whose parameter gradients are summed as one piece. It depends on the shape alone, so that results do not
// depend on the number of threads.
RECKON_INLINE int64_t layer_norm_piece(int64_t rows) {
  const int64_t piece = (rows + 63) / 64;
  return piece < 32 ? 32 : piece;
}
RECKON_INLINE int64_t layer_norm_pieces(int64_t rows) {
  const int64_t piece = layer_norm_piece(rows);
  return (rows + piece - 1) / piece;
}

}  // namespace reckon::ops
