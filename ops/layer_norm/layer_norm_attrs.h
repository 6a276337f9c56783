// What layer_norm and its backward op are asked for, and how the rows are cut into pieces. Read by the plans
// and by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

// Positions of inputs; weight and bias may be absent.
namespace layer_norm_in {
enum Input : int { x, weight, bias, n_inputs };
}
namespace layer_norm_backward_in {
enum Input : int { g, x, weight, mean, rstd };
}

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
  constexpr int64_t kMostPieces = 64, kLeastRows = 32;
  const int64_t piece = (rows + kMostPieces - 1) / kMostPieces;
  return piece < kLeastRows ? kLeastRows : piece;
}
RECKON_INLINE int64_t layer_norm_pieces(int64_t rows) {
  const int64_t piece = layer_norm_piece(rows);
  return (rows + piece - 1) / piece;
}

}  // namespace reckon::ops
