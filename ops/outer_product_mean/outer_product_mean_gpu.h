// How the outer product mean runs on a GPU, in the order (outer product or projection first) that the CPU takes
// too: the same pure rules serve the plan and the kernels. Outer product first, a block makes products of 8 x 8
// pairs and 16 x 16 channels in shared memory and multiplies them there, so that none reaches memory, in one
// launch for any size; the library would need them laid out [i, j, p, q] in memory and two launches per chunk
// of rows. Projection first, U = a W (and backward dU) lies in a workspace of bounded size, for its products
// share no tile: one pass per chunk of rows (batch, i).
#pragma once

#include <cstddef>

#include "ops/outer_product_mean/outer_product_mean_attrs.h"

namespace reckon::ops {

inline constexpr int kPairRows = 8;       // rows i, and rows j, of a tile of pairs
inline constexpr int kPairChannels = 16;  // channels p, and q, of a step

RECKON_INLINE constexpr int64_t ceil_div(int64_t n, int64_t d) { return (n + d - 1) / d; }

// n steps shared among about one wave of blocks, of which there are `blocks` per piece.
struct OuterPieces {
  int64_t per_piece = 1, pieces = 1;

  RECKON_INLINE constexpr OuterPieces(int64_t n, int64_t blocks, int64_t wave) {
    const int64_t wanted = blocks < wave ? wave / (blocks < 1 ? 1 : blocks) : 1;
    per_piece = ceil_div(n, wanted < n ? wanted : n);
    pieces = ceil_div(n, per_piece);
  }
};

// Outer product first: tiles of pairs per piece of the weight's gradient. `outputs`: rows
// of the weight that a block sums.
RECKON_INLINE constexpr int64_t outer_pair_tiles(const OuterSizes& n) {
  const int64_t tiles = ceil_div(n.r, kPairRows);
  return n.batch * tiles * tiles;
}
RECKON_INLINE constexpr int64_t outer_weight_rows(DType low) { return size_of(low) == 2 ? 128 : 64; }
RECKON_INLINE constexpr OuterPieces outer_weight_pieces(const OuterSizes& n, DType low) {
  const int64_t chunks = ceil_div(n.c, kPairChannels);
  return {outer_pair_tiles(n), chunks * chunks * ceil_div(n.cz, outer_weight_rows(low)), 132};
}

// Pairs whose gradients one block adds up for the bias.
RECKON_INLINE constexpr OuterPieces outer_bias_pieces(const OuterSizes& n) {
  const int64_t pairs = n.batch * n.r * n.r;
  OuterPieces p(pairs, ceil_div(n.cz, 128), 264);
  if (p.per_piece < 64) p.per_piece = 64, p.pieces = ceil_div(pairs, 64);
  return p;
}

// Projection first: the rows (batch, i) whose U [S, cz, c] are in memory together, whole
// batch elements or parts of one.
struct ProjectedChunks {
  int64_t r, rows, per_chunk, per_batch;  // per_batch: chunks of a batch element; 0: a chunk holds whole ones

  RECKON_INLINE constexpr ProjectedChunks(const OuterSizes& n, DType low, size_t library_workspace_bytes)
      : r(n.r), rows(n.batch * n.r) {
    const int64_t row = n.s * n.cz * n.c * static_cast<int64_t>(size_of(low));
    const int64_t most = 2 * static_cast<int64_t>(library_workspace_bytes) / (row < 1 ? 1 : row),
                  fitting = most < 1 ? 1 : most;
    const int64_t parts = ceil_div(r, fitting);
    per_batch = fitting >= r ? 0 : parts;
    per_chunk = fitting >= r ? (fitting / r < n.batch ? fitting / r : n.batch) * r : ceil_div(r, parts);
    if (per_batch) per_batch = ceil_div(r, per_chunk);
  }
  RECKON_INLINE constexpr int64_t count() const {
    return per_batch ? rows / r * per_batch : ceil_div(rows, per_chunk);
  }
  RECKON_INLINE constexpr int64_t first(int64_t k) const {
    return per_batch ? k / per_batch * r + k % per_batch * per_chunk : k * per_chunk;
  }
  RECKON_INLINE constexpr int64_t size(int64_t k) const {
    const int64_t end = per_batch ? (k / per_batch + 1) * r : rows, left = end - first(k);
    return left < per_chunk ? left : per_chunk;
  }
};

// Of a block's tile in the products of a projection.
inline constexpr int kProjectedRows = 128, kProjectedColumns = 64;

// The products with long sums and few results: da sums over the outputs z in pieces,
// db over the rows i of a chunk.
RECKON_INLINE constexpr OuterPieces projected_da_pieces(const OuterSizes& n, const ProjectedChunks& chunks) {
  return {n.cz < 1 ? 1 : n.cz,
          ceil_div(chunks.per_chunk * n.s, kProjectedRows) * ceil_div(n.c, kProjectedColumns), 264};
}
RECKON_INLINE constexpr OuterPieces projected_db_pieces(const OuterSizes& n, const ProjectedChunks& chunks) {
  const int64_t rows = chunks.per_batch ? chunks.per_chunk : n.r,
                batches = chunks.per_batch ? 1 : chunks.per_chunk / n.r;
  return {rows, batches * n.s * ceil_div(n.r, kProjectedRows) * ceil_div(n.c, kProjectedColumns), 264};
}

// What a backward call launches and keeps, in order; a workspace of 0 bytes is not there.
struct OuterBackwardPlan {
  bool project, scales, da, db, weight, bias;
  int64_t chunks = 0, scale_floats = 0, projected = 0, weight_floats = 0, bias_floats = 0, da_floats = 0,
          db_floats = 0;

  RECKON_INLINE constexpr OuterBackwardPlan(const OuterSizes& n, uint32_t needs, bool masked, DType low,
                                            size_t library_workspace_bytes)
      : project(outer_tiles(n, true).project_first),
        scales(masked),
        da(needs >> OuterProductMeanInput::a & 1u),
        db(needs >> OuterProductMeanInput::b & 1u),
        weight(needs >> OuterProductMeanInput::weight & 1u),
        bias(needs >> OuterProductMeanInput::bias & 1u) {
    if (scales) scale_floats = n.batch * n.r * n.r;
    if (bias) bias_floats = outer_bias_pieces(n).pieces * n.cz;
    const int64_t weights = n.cz * n.c * n.c, elements = n.batch * n.s * n.r * n.c;
    if (!project) {
      if (weight) weight_floats = outer_weight_pieces(n, low).pieces * weights;
      return;
    }
    if (!da && !db && !weight) return;
    const ProjectedChunks c(n, low, library_workspace_bytes);
    chunks = c.count();
    projected = c.per_chunk * n.s * n.cz * n.c;
    if (weight && chunks > 1) weight_floats = weights;
    if (da && projected_da_pieces(n, c).pieces > 1) da_floats = projected_da_pieces(n, c).pieces * elements;
    if (db && (projected_db_pieces(n, c).pieces > 1 || c.per_batch > 1))
      db_floats = projected_db_pieces(n, c).pieces * elements;
  }
  // Whether pieces are left to add up at the end.
  RECKON_INLINE constexpr bool sums() const {
    return bias || (!project && weight) || da_floats > 0 || db_floats > 0;
  }
};

}  // namespace reckon::ops
