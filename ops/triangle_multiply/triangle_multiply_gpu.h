// How triangle_multiply runs on a GPU: the same pure rules serve the plan and the kernels. a, b and t lie channel by channel,
// [B, c, R, ld], where the library multiplies them as one batch; ld is R rounded up to 16 bytes. All other work is done by
// kernels over tiles of positions that keep normalised rows and gates on chip. No launch count grows with R or B.
#pragma once

#include "ops/kernel/tile_pieces.h"
#include "ops/triangle_multiply/triangle_multiply_attrs.h"

namespace reckon::ops {

// The widest rows: tiles of f32 wider than 128 columns need more shared memory than compute capability 8.0 offers.
inline constexpr size_t kTriangleWideBytes = 220 << 10;
RECKON_INLINE constexpr int64_t most_triangle_columns(DType low, size_t shared_bytes_per_block) {
  return fits_tiles(kTileColumns, low) || shared_bytes_per_block >= kTriangleWideBytes ? kTileColumns : kTileColumns / 2;
}

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

}  // namespace reckon::ops
