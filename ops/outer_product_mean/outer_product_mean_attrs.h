// Attributes, and how the work is cut: the same pure rules serve the plan and the kernels.
#pragma once

#include "ops/kernel/kernel_args.h"
#include "ops/outer_product_mean/outer_product_mean_options.h"

namespace reckon::ops {

using OuterNormalize = OuterProductMeanOptions::Normalize;

// Positions of inputs.
struct OuterProductMeanInput {
  enum : int { a, b, weight, bias, mask, n_inputs };
};
struct OuterProductMeanBackwardInput {
  enum : int { dout, a, b, weight, mask };
};

struct OuterProductMeanAttrs : Attrs {
  explicit OuterProductMeanAttrs(const OuterProductMeanOptions& o, uint32_t n = 0)
      : normalize(o.normalize), eps(o.eps), needs(n) {}
  OuterNormalize normalize;
  double eps;
  uint32_t needs;  // backward: the inputs of the forward op whose gradients are wanted
};

struct OuterSizes {
  int64_t batch, s, r, c, cz;

  // Forward FLOPs per batch element of the two orders. Outer product first: 2 S R^2 c^2 and 2 R^2 c^2 cz.
  // U_i = W a_i first: 2 S R c^2 cz and 2 S R^2 c cz.
  RECKON_INLINE constexpr int64_t outer_first() const { return 2 * s * r * r * c * c + 2 * r * r * c * c * cz; }
  RECKON_INLINE constexpr int64_t project_first() const {
    return 2 * s * r * c * c * cz + 2 * s * r * r * c * cz;
  }
  // Backward: outer product, da, db against dW, dO; and U, da, dW against dU, db.
  RECKON_INLINE constexpr int64_t outer_first_backward() const {
    return 6 * s * r * r * c * c + 4 * r * r * c * c * cz;
  }
  RECKON_INLINE constexpr int64_t project_first_backward() const {
    return 6 * s * r * c * c * cz + 4 * s * r * r * c * cz;
  }
};

struct OuterTiles {
  bool project_first;
  int64_t ti, tj;  // rows i and columns j of one tile
};

inline constexpr int64_t kOuterTileElements = 1 << 20;  // 4 MiB of f32

RECKON_INLINE constexpr int64_t outer_extent(int64_t wanted, int64_t limit) {
  return wanted < 1 ? 1 : (wanted < limit ? wanted : limit);
}

RECKON_INLINE constexpr OuterTiles outer_tiles(const OuterSizes& n, bool backward) {
  const bool project =
      backward ? n.project_first_backward() < n.outer_first_backward() : n.project_first() < n.outer_first();
  OuterTiles t{project, 1, 1};
  if (project) {
    // Rows of U: S cz c each. Backward holds the gradient of whole rows, R cz each.
    int64_t row = n.s * n.cz * n.c;
    if (backward && n.r * n.cz > row) row = n.r * n.cz;
    t.ti = outer_extent(kOuterTileElements / (row > 0 ? row : 1), n.r);
    t.tj = backward ? n.r : outer_extent(kOuterTileElements / (t.ti * n.cz), n.r);
  } else {
    // About 128 rows (i, p) make a product efficient; the columns fill the tile.
    const int64_t pair = n.c * n.c > n.cz ? n.c * n.c : n.cz;
    t.ti = outer_extent(128 / n.c, n.r);
    t.tj = outer_extent(kOuterTileElements / (t.ti * pair), n.r);
  }
  return t;
}

}  // namespace reckon::ops
