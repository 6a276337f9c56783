// How triangle_multiply runs on a GPU: the same pure rules serve the plan and the kernels. a, b and t lie
// channel by channel, [B, c, R, ld], where the library multiplies them as one batch; ld is R rounded up to 16
// bytes. All other work is done by kernels over tiles of positions that keep normalised rows and gates on chip.
// No launch count grows with R or B.
#pragma once

#include "ops/kernel/plan/tile_pieces.h"
#include "ops/triangle_multiply/triangle_multiply_attrs.h"

namespace reckon::ops {

inline constexpr int kTriangleSide = 64;  // channels of a side whose two weights a block of backward sums

struct TriangleSizes {
  int64_t batches, r, cz, c, c_out;
  DType low;

  RECKON_INLINE constexpr int64_t positions() const { return batches * r * r; }
  RECKON_INLINE constexpr int64_t ld() const {
    const int64_t vector = 16 / static_cast<int64_t>(size_of(low));
    return (r + vector - 1) / vector * vector;
  }
  RECKON_INLINE constexpr int64_t channel_elements() const { return batches * c * r * ld(); }
};

// What backward has to do for the gradients that `needs` names.
struct TriangleWork {
  RECKON_INLINE constexpr explicit TriangleWork(uint32_t needs) {
    using namespace triangle;
    const auto any = [&](int first, int last) { return (needs >> first & ((2u << (last - first)) - 1u)) != 0; };
    input_rows = (needs >> z & 1u) || any(ln_in_w, ln_in_b);
    sides = input_rows || any(w_a, b_bg);
    output_rows = sides || any(ln_out_w, ln_out_b);
    weights = any(w_a, b_bg) || any(w_z, b_g);
    sums = (needs >> ln_in_w) != 0;
    norm_in = any(ln_in_w, ln_in_b);
    norm_out = any(ln_out_w, ln_out_b);
  }
  bool output_rows, sides, input_rows, weights, sums;
  bool norm_in, norm_out;  // sums of the norms' parameters
};

// Offsets of the weights' and biases' gradients in a piece's floats, by forward input; -1: not wanted. A block
// sums 64 channels of a side with its gate, or 128 rows of w_z or w_g, by 128 columns.
struct TriangleSums {
  int64_t at[triangle::n_inputs];
  int64_t floats = 0, side_tiles, out_tiles, column_tiles;

  RECKON_INLINE constexpr TriangleSums(uint32_t needs, const TriangleSizes& s)
      : at{},
        side_tiles((s.c + kTriangleSide - 1) / kTriangleSide),
        out_tiles((s.c_out + kWeightTile - 1) / kWeightTile),
        column_tiles(((s.c > s.cz ? s.c : s.cz) + kWeightTile - 1) / kWeightTile) {
    using namespace triangle;
    for (int k = 0; k < n_inputs; ++k) at[k] = -1;
    const auto take = [&](int k, int64_t n) {
      if (!(needs >> k & 1u)) return;
      at[k] = floats;
      floats += (n + 3) / 4 * 4;
    };
    for (int k : {w_a, w_ag, w_b, w_bg}) take(k, s.c * s.cz), take(bias_of(k), s.c);
    take(w_z, s.c_out * s.c), take(b_z, s.c_out);
    take(w_g, s.c_out * s.cz), take(b_g, s.c_out);
  }
  RECKON_INLINE constexpr int64_t tiles() const { return 2 * side_tiles + 2 * out_tiles; }
  RECKON_INLINE constexpr WeightPieces pieces(int64_t positions) const {
    return WeightPieces(positions, tiles() * column_tiles);
  }
};

}  // namespace reckon::ops
