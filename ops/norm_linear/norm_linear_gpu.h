// How norm_linear runs on a GPU: the same pure rules serve the plan and the kernels. Rows that fit
// tiles are normalised into shared memory by the kernel that multiplies them, so that no normalised row reaches memory;
// wider ones are refused.
#pragma once

#include "ops/kernel/tile_pieces.h"

namespace reckon::ops {

inline constexpr int kMaxNormLinears = 14;  // 3 + 2 * 14 inputs still fit the gradient mask

// Backward: where the gradients of linear i lie in a piece's floats, and how many blocks sum a piece.
struct NormLinearSums {
  int64_t weight[kMaxNormLinears], bias[kMaxNormLinears];  // offsets, -1: not wanted
  int64_t floats = 0, out_tiles = 0, column_tiles = 1;

  // `out(i)`: rows of weight i.
  template <class Out>
  RECKON_INLINE NormLinearSums(uint32_t needs, int n_linears, int64_t c, Out out) {
    for (int i = 0; i < n_linears; ++i) {
      const bool dw = needs >> (3 + 2 * i) & 1u, db = needs >> (4 + 2 * i) & 1u;
      const auto take = [&](bool wanted, int64_t n) {
        if (!wanted) return int64_t{-1};
        const int64_t at = floats;
        floats += (n + 3) / 4 * 4;
        return at;
      };
      weight[i] = take(dw, out(i) * c);
      bias[i] = take(db, out(i));
      if (dw || db) out_tiles += (out(i) + kWeightTile - 1) / kWeightTile;
      if (dw) column_tiles = (c + kWeightTile - 1) / kWeightTile;
    }
  }
  RECKON_INLINE WeightPieces pieces(int64_t rows) const { return WeightPieces(rows, out_tiles * column_tiles); }
};

}  // namespace reckon::ops
