// How the rows of a norm are dealt out in its backward pass on a GPU: a block sums the parameter gradients of
// one piece of them. Depends on the shape alone, as the results do. For plans and kernels.
#pragma once

#include <cstdint>

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

// Rows per piece: at most 1024 pieces, none smaller than what a block holds in registers at once.
RECKON_INLINE int64_t norm_gpu_piece(int64_t rows, int64_t c) {
  const int64_t least = c > 64 ? 16 : (c > 32 ? 32 : 64), piece = (rows + 1023) / 1024;
  return piece < least ? least : piece;
}

RECKON_INLINE int64_t norm_gpu_pieces(int64_t rows, int64_t c) {
  const int64_t piece = norm_gpu_piece(rows, c), pieces = (rows + piece - 1) / piece;
  return pieces < 1 ? 1 : pieces;
}

}  // namespace reckon::ops
