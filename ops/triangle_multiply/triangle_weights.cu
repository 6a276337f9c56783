// The gradients of the six weights and their biases: a block sums 128 of their rows (64 channels of a side and
// of its gate, or 128 of w_z or w_g) by 128 columns over one piece of the positions. The projections'
// gradients are made on the way.
#include "ops/kernel/gpu/launch.cuh"
#include "ops/triangle_multiply/triangle_backward.cuh"

namespace reckon::ops::gpu {
namespace {

// 16 warps of 32 x 32 sums: half as many, with twice the sums, would leave no registers for loads under way.
constexpr int kThreads = 512;

struct Partial {
  float* at[triangle::n_inputs];  // of piece 0, by forward input; null where not wanted
  int64_t floats;
  int side_tiles, out_tiles;
};

struct Targets {
  float *weight, *bias;
};

// Where a half of the tile goes, rows [0, 64) or [64, 128): they are of two weights on a side, of one else.
__device__ __forceinline__ Targets targets_of(const Partial& to, bool lower, bool is_side, bool is_second,
                                              bool is_z) {
  using namespace triangle;
  if (!is_side) return is_z ? Targets{to.at[w_z], to.at[b_z]} : Targets{to.at[w_g], to.at[b_g]};
  if (lower) return is_second ? Targets{to.at[w_bg], to.at[b_bg]} : Targets{to.at[w_ag], to.at[b_ag]};
  return is_second ? Targets{to.at[w_b], to.at[b_b]} : Targets{to.at[w_a], to.at[b_a]};
}

template <class T>
struct WeightsSpace {
  static constexpr int kDepth = kChunk<T>, kRow = tile_row<T>(kWeightTile), kTile = kDepth * kRow,
                       kTurned = kTriangleSide * kDepth;
  static constexpr size_t kBytes = sizeof(T) * (3 * kTile + 2 * kTurned);
};

// Blocks: tiles of weight rows, of columns, pieces. Shared memory: two stages of gradients [kDepth, 128], the
// normalised rows [kDepth, 128] they are multiplied with, two stages of da or db [64, kDepth].
template <class T>
__global__ void __launch_bounds__(kThreads)
    triangle_weights(NormInput in, NormInput out, TriangleBackward p, Partial to, int64_t rows_per_piece) {
  using Space = WeightsSpace<T>;
  using namespace triangle;
  constexpr int kDepth = Space::kDepth, kRow = Space::kRow;
  RECKON_DYNAMIC_SHARED(T, gradients);
  T* const x = gradients + 2 * Space::kTile;
  T* const turned = x + Space::kTile;
  const int block = blockIdx.x, column0 = blockIdx.y * kWeightTile;
  const bool is_side = block < 2 * to.side_tiles, is_second = block >= to.side_tiles,
             is_z = block >= 2 * to.side_tiles + to.out_tiles;
  NormInput n = in;
  if (is_z) n = out;
  const int row0_of_weight = is_side ? block % to.side_tiles * kTriangleSide
                                     : (block - 2 * to.side_tiles) % to.out_tiles * kWeightTile;
  const int height = is_side ? p.c : p.c_out;  // rows of each weight
  const Targets whole = targets_of(to, false, is_side, is_second, is_z),
                lower = targets_of(to, true, is_side, is_second, is_z);
  const bool wants_weight = (whole.weight || lower.weight) && column0 < n.c,
             wants_bias = (whole.bias || lower.bias) && blockIdx.y == 0;
  if (!wants_weight && !wants_bias) return;
  const void *value = is_second ? p.side[1].value : p.side[0].value,
             *gate = is_second ? p.side[1].gate : p.side[0].gate;
  const T* const d = static_cast<const T*>(is_second ? p.side[1].gradient : p.side[0].gradient);
  const int64_t first = blockIdx.z * rows_per_piece,
                last = first + rows_per_piece < n.rows ? first + rows_per_piece : n.rows;
  const int warp = threadIdx.x / 32, warp_out = warp / 4 * 32, warp_column = warp % 4 * 32;

  NormColumns<T, kThreads, kDepth> norm(n, column0);
  const auto left = [&](int64_t row0) { return last - row0 < kDepth ? static_cast<int>(last - row0) : kDepth; };
  const auto issue = [&](int64_t row0, int stage) {
    T* const g = gradients + stage * Space::kTile;
    if (is_side) {
      const int64_t at = row0 * p.c + row0_of_weight;
      copy_tile<kThreads>(g, kRow, kDepth, kTriangleSide, static_cast<const T*>(value) + at, p.c, left(row0),
                          p.c - row0_of_weight, p.side_vectors);
      copy_tile<kThreads>(g + kTriangleSide, kRow, kDepth, kTriangleSide, static_cast<const T*>(gate) + at, p.c,
                          left(row0), p.c - row0_of_weight, p.side_vectors);
      const TurnedTile<T, kDepth> tile{turned + stage * Space::kTurned};
      Passage<T, kDepth, kThreads>(p.layout, row0, last)
          .load(tile, d + row0_of_weight * p.layout.channel, kTriangleSide, p.c - row0_of_weight);
    } else {
      copy_tile<kThreads>(g, kRow, kDepth, kWeightTile,
                          static_cast<const T*>(p.dy) + row0 * p.c_out + row0_of_weight, p.c_out, left(row0),
                          p.c_out - row0_of_weight, p.out_vectors);
    }
    if (wants_weight) norm.issue(n, row0, last);
  };
  float sums[2][4][4], bias_sums[2][4] = {};
  clear(sums);
  if (first < last) issue(first, 0);
  int stage = 0;
  for (int64_t row0 = first; row0 < last; row0 += kDepth) {
    copy_async_wait();
    __syncthreads();
    T* const g = gradients + stage * Space::kTile;
    if (is_side)
      side_gradient<kThreads, kDepth>(g, g + kTriangleSide, kRow, kTriangleSide,
                                      TurnedTile<T, kDepth>{turned + stage * Space::kTurned}, p.mask, row0,
                                      left(row0));
    else if (is_z)
      output_gradient<false, kThreads, 1>(g, kRow, kDepth, kWeightTile, p, row0, row0_of_weight, left(row0),
                                          height - row0_of_weight);
    else
      output_gradient<true, kThreads, 1>(g, kRow, kDepth, kWeightTile, p, row0, row0_of_weight, left(row0),
                                         height - row0_of_weight);
    if (wants_weight) norm.store(n, x, kRow);
    stage ^= 1;
    if (row0 + kDepth < last) issue(row0 + kDepth, stage);
    __syncthreads();
    if (wants_weight && column0 + warp_column < n.c)
      multiply<Along::rows, Along::rows>(sums, g + warp_out, kRow, x + warp_column, kRow, kDepth);
    if (wants_bias && warp_column == 0) add_along_k<Along::rows>(bias_sums, g + warp_out, kRow, kDepth);
  }
  const int half = is_side && warp_out >= kTriangleSide ? 1 : 0;
  const int row0 = row0_of_weight + warp_out - half * kTriangleSide;  // of the weight
  const int64_t piece = blockIdx.z * to.floats;
  const int kind = recomputed(is_side ? 1 : 0);  // eight registers less through the loop
  const Targets target = targets_of(to, half != 0, kind != 0, is_second, is_z);
  float *const to_weight = target.weight, *const to_bias = target.bias;
  if (wants_weight && to_weight)
    store_sums(sums, to_weight + piece + int64_t{row0} * n.c + column0 + warp_column, n.c, height - row0,
               n.c - column0 - warp_column, n.c % 2 == 0);
  if (!wants_bias || !to_bias || warp_column != 0 || threadIdx.x % 4 != 0) return;
#pragma unroll
  for (int m = 0; m < 2; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int row = row0 + 16 * m + 8 * h + threadIdx.x % 32 / 4;
      if (row < height) to_bias[piece + row] = bias_sums[m][2 * h];
    }
}

}  // namespace

void launch_triangle_weights(const KernelArgs& a, int index, DType type, const NormInput& in,
                             const NormInput& out, const TriangleBackward& p, const TriangleSums& sums,
                             float* partial) {
  const WeightPieces pieces = sums.pieces(in.rows);
  const dim3 grid(static_cast<unsigned>(sums.tiles()), static_cast<unsigned>(sums.column_tiles),
                  static_cast<unsigned>(pieces.pieces));
  Partial to{{}, sums.floats, static_cast<int>(sums.side_tiles), static_cast<int>(sums.out_tiles)};
  for (int k = 0; k < triangle::n_inputs; ++k) to.at[k] = sums.at[k] < 0 ? nullptr : partial + sums.at[k];
  with_type(type, [&](auto t) {
    using T = decltype(t);
    launch(a, index, triangle_weights<T>, grid, kThreads, WeightsSpace<T>::kBytes, in, out, p, to,
           pieces.rows_per_piece);
  });
}

}  // namespace reckon::ops::gpu
