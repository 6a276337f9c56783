// How fused GPU ops over rows deal out their work: tiles of rows, and pieces of the rows whose parameter
// gradients are summed apart and added up in order. Pure in the shapes: the same rules serve plans and kernels.
#pragma once

#include <cstdint>

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

inline constexpr int kTileRows = 128;     // rows of one tile
inline constexpr int kTileColumns = 256;  // the widest row of a tile
inline constexpr int kWeightTile = 128;   // rows and columns of a weight's gradient that a block sums

// Whether rows of c elements of the weights' type are held by the fused kernels: tiles of more than 512 bytes a
// row would leave no room for weights. Wider rows go through the library.
RECKON_INLINE constexpr bool fits_tiles(int64_t c, DType weights) {
  return c * static_cast<int64_t>(size_of(weights)) <= 512;
}

// Consecutive tiles a block goes through, leaving one partial sum.
struct RowPieces {
  RECKON_INLINE constexpr explicit RowPieces(int64_t rows)
      : tiles((rows + kTileRows - 1) / kTileRows), tiles_per_piece((tiles + 2047) / 2048) {
    if (tiles_per_piece < 1) tiles_per_piece = 1;
    pieces = (tiles + tiles_per_piece - 1) / tiles_per_piece;
    if (pieces < 1) pieces = 1;
  }
  int64_t tiles, tiles_per_piece, pieces = 1;
};

// Rows that one block sums a tile of weight gradients over, where each piece has `blocks` tiles: about one wave
// of the largest GPUs (264 blocks) altogether, in steps of 64 rows.
struct WeightPieces {
  static constexpr int kStep = 64;
  RECKON_INLINE constexpr WeightPieces(int64_t rows, int64_t blocks) {
    const int64_t wanted = blocks < 264 ? 264 / (blocks < 1 ? 1 : blocks) : 1,
                  per_piece = (rows + wanted - 1) / wanted;
    rows_per_piece = (per_piece + kStep - 1) / kStep * kStep;
    if (rows_per_piece < kStep) rows_per_piece = kStep;
    pieces = (rows + rows_per_piece - 1) / rows_per_piece;
    if (pieces < 1) pieces = 1;
  }
  int64_t rows_per_piece = kStep, pieces = 1;
};

// Rows that one block sums columns over: at most 128 pieces of them.
struct ColumnPieces {
  RECKON_INLINE constexpr explicit ColumnPieces(int64_t rows) : rows_per_piece((rows + 127) / 128) {
    if (rows_per_piece < 64) rows_per_piece = 64;
    pieces = (rows + rows_per_piece - 1) / rows_per_piece;
    if (pieces < 1) pieces = 1;
  }
  int64_t rows_per_piece, pieces = 1;
};

}  // namespace reckon::ops
