// What linear_cross_entropy is asked for, and the grid of tiles its logits are made in. Read by the plans and
// by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"
#include "ops/reduction.h"

namespace reckon::ops {

// Positions of inputs and outputs.
struct LinearCrossEntropyInput {
  enum : int { x, weight, targets, n_inputs };
};
struct LinearCrossEntropyOutput {
  enum : int { loss, statistics };
};
struct LinearCrossEntropyBackwardInput {
  enum : int { dloss, x, weight, targets, statistics };
};

// What backward keeps of a row, [2, T]: the maximum of its logits, then the logarithm of the sum of exp(logit -
// maximum), apart as in cross_entropy; 0 and 0 where the row is ignored.
inline constexpr int64_t kLinearLossStatistics = 2;

struct LinearCrossEntropyAttrs : Attrs {
  LinearCrossEntropyAttrs(Reduction r, int64_t ignore, bool x = true, bool w = true)
      : reduction(r), ignore_index(ignore), wants_x(x), wants_weight(w) {}
  Reduction reduction;
  int64_t ignore_index;
  bool wants_x, wants_weight;  // in backward
};

// The grid of tiles over the logits. On the CPU 4 MiB of f32 at most: enough rows and classes for
// the product to run at full speed.
struct LogitTiles {
  int64_t T, V, H;
  int64_t tile_rows = 512, tile_classes = 2048;

  RECKON_INLINE static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
  RECKON_INLINE int64_t row_tiles() const { return (T + tile_rows - 1) / tile_rows; }
  RECKON_INLINE int64_t class_tiles() const { return (V + tile_classes - 1) / tile_classes; }
  RECKON_INLINE int64_t rows(int64_t tile) const { return smaller(tile_rows, T - tile * tile_rows); }
  RECKON_INLINE int64_t classes(int64_t tile) const { return smaller(tile_classes, V - tile * tile_classes); }
  RECKON_INLINE int64_t most_rows() const { return smaller(tile_rows, T); }
  RECKON_INLINE int64_t most_classes() const { return smaller(tile_classes, V); }
};

// The gradient of the logits is held in bf16 when both operands of its products are.
RECKON_INLINE bool low_logit_gradient(DType x, DType w) { return x == DType::bf16 && w == DType::bf16; }

}  // namespace reckon::ops
