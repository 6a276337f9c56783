// How the transitions run on a GPU: the same pure rules serve the plan and the kernels. Where rows and
// outputs fit tiles, one kernel normalises, multiplies twice and keeps the hidden layer in registers;
// backward computes the hidden layer's gradient twice, for rows and for weights, rather than keep it.
// Wider ones: transition_wide.h.
#pragma once

#include "ops/kernel/plan/tile_pieces.h"
#include "ops/transition/transition_attrs.h"

namespace reckon::ops {

inline constexpr int kHiddenTile = 64;  // hidden units whose weights a block of backward sums

RECKON_INLINE constexpr bool transition_fused(int64_t c, int64_t out, DType weights) {
  return fits_tiles(c, weights) && fits_tiles(out, weights);
}

// What both transitions are: y = W_out f(W_a n (+ b_a), W_b n) (+ b_out), with relu(a) for f, or silu(a) b.
struct TransitionSizes {
  bool gated;
  int64_t rows, c, h, out;
};

// Backward: offsets of the gradients in a piece's floats, -1 where not wanted, and how many blocks sum a piece.
struct TransitionSums {
  int64_t w_a = -1, w_b = -1, w_out = -1, b_a = -1, b_out = -1;
  int64_t floats = 0, hidden_tiles, column_tiles;

  // `needs`: bits of the forward op's inputs.
  RECKON_INLINE constexpr TransitionSums(uint32_t needs, const TransitionSizes& s)
      : hidden_tiles((s.h + kHiddenTile - 1) / kHiddenTile),
        column_tiles(((s.c > s.out ? s.c : s.out) + kWeightTile - 1) / kWeightTile) {
    const auto take = [&](int input, int64_t n) {
      if (!(needs >> input & 1u)) return int64_t{-1};
      const int64_t at = floats;
      floats += (n + 3) / 4 * 4;
      return at;
    };
    w_a = take(TransitionInput::w_in, s.h * s.c);
    if (s.gated)
      w_b = take(SwigluTransitionInput::w_b, s.h * s.c);
    else
      b_a = take(ReluTransitionInput::b1, s.h);
    w_out = take(TransitionInput::w_out, s.out * s.h);
    if (!s.gated) b_out = take(ReluTransitionInput::b2, s.out);
  }
  RECKON_INLINE constexpr WeightPieces pieces(int64_t rows) const {
    return WeightPieces(rows, hidden_tiles * column_tiles);
  }
};

}  // namespace reckon::ops
