// The gradients of the transitions' weights and biases: a block takes 64 hidden units, 128 columns of the
// inputs and 128 of the outputs, and sums over one piece of the rows. The hidden layer's gradient is made on
// the way, from dy and what is kept.
#include "ops/kernel/gpu/launch.cuh"
#include "ops/transition/transition.cuh"

namespace reckon::ops::gpu {
namespace {

template <class T>
struct WeightsSpace {
  static constexpr int kDepth = kChunk<T>, kRowOfHidden = tile_row<T>(kHiddenTile),
                       kRowOfX = tile_row<T>(kWeightTile);
  static constexpr int kHidden = kDepth * kRowOfHidden, kX = kDepth * kRowOfX;
  int row_of_dy, dy, w_out;  // elements

  RECKON_INLINE constexpr explicit WeightsSpace(int out)
      : row_of_dy(tile_row<T>(whole_steps(out) > kWeightTile ? 2 * kWeightTile : kWeightTile)),
        dy(kDepth * row_of_dy),
        w_out(whole_steps(out) * kRowOfHidden) {}
  RECKON_INLINE constexpr size_t bytes() const {
    return sizeof(T) * static_cast<size_t>(w_out + 2 * dy + kX + 3 * kHidden);
  }
};

struct Partial {
  float *w_a, *w_b, *w_out, *b_a, *b_out;  // of piece 0; null where not wanted
  int64_t floats;
};

// With da, db and the hidden layer's output p of the block's units: dW_a = da^T n, dW_b = db^T n, dW_out = dy^T
// p, and the sums of da and dy. Blocks: tiles of hidden units, of columns, pieces. Shared memory: W_out [out,
// 64], two stages of dy [kDepth, out], n [kDepth, 128], da, db and p [kDepth, 64].
template <class T, bool kGated>
__global__ void __launch_bounds__(256)
    transition_weights(NormInput n, TransitionBackward p, Partial to, int64_t rows_per_piece) {
  using Space = WeightsSpace<T>;
  constexpr int kThreads = 256, kDepth = Space::kDepth, kRowOfHidden = Space::kRowOfHidden,
                kRowOfX = Space::kRowOfX;
  RECKON_DYNAMIC_SHARED(T, w_out);
  const Space space(p.out);
  T* const dy = w_out + space.w_out;
  T* const x = dy + 2 * space.dy;
  T* const da = x + Space::kX;
  T* const db = da + Space::kHidden;
  T* const hidden = db + Space::kHidden;
  const int h0 = blockIdx.x * kHiddenTile, column0 = blockIdx.y * kWeightTile, out = whole_steps(p.out);
  const int64_t first = blockIdx.z * rows_per_piece,
                last = first + rows_per_piece < n.rows ? first + rows_per_piece : n.rows;
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const bool wants_in = (to.w_a || to.w_b) && column0 < n.c, wants_out = to.w_out && column0 < p.out;
  const bool wants_b_a = to.b_a && blockIdx.y == 0,
             wants_b_out = to.b_out && blockIdx.x == 0 && column0 < p.out;
  const bool wants_da = wants_in || wants_b_a;

  // Of da: a warp makes 16 rows by 8 kUnits units.
  constexpr int kUnits = kDepth * kHiddenTile / 16 / 8 / 8, kWarpsAcross = kHiddenTile / (8 * kUnits);
  const int da_row = warp / kWarpsAcross * 16, da_unit = warp % kWarpsAcross * 8 * kUnits;
  typename PairBits<T>::Type a[kUnits][2], b[kGated ? kUnits : 1][2];
  const auto load_kept = [&](int64_t row0) {
#pragma unroll
    for (int j = 0; j < kUnits; ++j)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int64_t row = row0 + da_row + 8 * h + g;
        const int unit = h0 + da_unit + 8 * j + 2 * t;
        a[j][h] = {};
        if constexpr (kGated) b[j][h] = {};
        if (row >= last || unit >= p.h) continue;
        a[j][h] = load_pair_bits(static_cast<const T*>(p.a) + row * p.h + unit, p.pairs, unit + 1 < p.h);
        if constexpr (kGated)
          b[j][h] = load_pair_bits(static_cast<const T*>(p.b) + row * p.h + unit, p.pairs, unit + 1 < p.h);
      }
  };
  const auto put = [&](T* tile, int j, int h, float low, float high) {
    T* const at = tile + (da_row + 8 * h + g) * kRowOfHidden + da_unit + 8 * j + 2 * t;
    at[0] = from_float<T>(low), at[1] = from_float<T>(high);
  };
  NormColumns<T, kThreads, kDepth> norm(n, column0);
  const auto issue_dy = [&](int64_t row0, int stage) {
    copy_tile<kThreads>(dy + stage * space.dy, space.row_of_dy, kDepth, space.row_of_dy - kVector<T>,
                        static_cast<const T*>(p.dy) + row0 * p.out, p.out,
                        last - row0 < kDepth ? static_cast<int>(last - row0) : kDepth, p.out, p.dy_vectors);
  };
  const auto issue_rest = [&](int64_t row0) {
    if (wants_in) norm.issue(n, row0, last);
    load_kept(row0);
  };

  float w_a_sums[2][4][4], w_b_sums[kGated ? 2 : 1][4][4], w_out_sums[2][4][4], b_a_sums[2][4] = {},
                                                                                b_out_sums[2][4] = {};
  clear(w_a_sums);
  clear(w_b_sums);
  clear(w_out_sums);
  // dW_a and dW_b: a warp sums 32 units by 32 columns; dW_out: 32 outputs by 32 units.
  const int in_unit = warp / 4 * 32, in_column = warp % 4 * 32, out_row = warp / 2 * 32,
            out_unit = warp % 2 * 32;
  if (first < last) {
    if (wants_da)
      copy_tile<kThreads>(w_out, kRowOfHidden, out, kHiddenTile, static_cast<const T*>(p.w_out) + h0, p.h,
                          p.out, p.h - h0, p.out_vectors);
    issue_dy(first, 0);
    issue_rest(first);
  }
  int stage = 0;
  for (int64_t row0 = first; row0 < last; row0 += kDepth) {
    copy_async_wait();
    __syncthreads();
    const bool more = row0 + kDepth < last;
    const T* const g_tile = dy + stage * space.dy;
    stage ^= 1;
    if (more) issue_dy(row0 + kDepth, stage);
    if (wants_in) norm.store(n, x, kRowOfX);
    float dp[1][kUnits][4];
    clear(dp);
    if (wants_da)
      multiply<Along::k, Along::rows>(dp, g_tile + da_row * space.row_of_dy, space.row_of_dy, w_out + da_unit,
                                      kRowOfHidden, out);
#pragma unroll
    for (int j = 0; j < kUnits; ++j)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const float2 av = pair_of<T>(a[j][h]);
        if constexpr (kGated) {
          const float2 bv = pair_of<T>(b[j][h]);
          float d_a[2], d_b[2], gated[2];
          gate_gradient<T>(dp[0][j][2 * h], av.x, bv.x, d_a[0], d_b[0], gated[0]);
          gate_gradient<T>(dp[0][j][2 * h + 1], av.y, bv.y, d_a[1], d_b[1], gated[1]);
          put(da, j, h, d_a[0], d_a[1]);
          put(db, j, h, d_b[0], d_b[1]);
          put(hidden, j, h, gated[0], gated[1]);
        } else {
          put(da, j, h, av.x > 0 ? dp[0][j][2 * h] : 0.0f, av.y > 0 ? dp[0][j][2 * h + 1] : 0.0f);
          put(hidden, j, h, av.x, av.y);
        }
      }
    if (more) issue_rest(row0 + kDepth);
    __syncthreads();
    if (wants_in) {
      multiply<Along::rows, Along::rows>(w_a_sums, da + in_unit, kRowOfHidden, x + in_column, kRowOfX, kDepth);
      if constexpr (kGated)
        multiply<Along::rows, Along::rows>(w_b_sums, db + in_unit, kRowOfHidden, x + in_column, kRowOfX,
                                           kDepth);
    }
    if (wants_out)
      multiply<Along::rows, Along::rows>(w_out_sums, g_tile + column0 + out_row, space.row_of_dy,
                                         hidden + out_unit, kRowOfHidden, kDepth);
    if (wants_b_a && in_column == 0) add_along_k<Along::rows>(b_a_sums, da + in_unit, kRowOfHidden, kDepth);
    if (wants_b_out && out_unit == 0)
      add_along_k<Along::rows>(b_out_sums, g_tile + column0 + out_row, space.row_of_dy, kDepth);
  }
  const int64_t piece = blockIdx.z * to.floats;
  const int units_left = p.h - h0 - in_unit, columns_left = n.c - column0 - in_column;
  const int64_t in_at = piece + int64_t{h0 + in_unit} * n.c + column0 + in_column;
  if (to.w_a) store_sums(w_a_sums, to.w_a + in_at, n.c, units_left, columns_left, n.c % 2 == 0);
  if constexpr (kGated)
    if (to.w_b) store_sums(w_b_sums, to.w_b + in_at, n.c, units_left, columns_left, n.c % 2 == 0);
  if (to.w_out)
    store_sums(w_out_sums, to.w_out + piece + int64_t{column0 + out_row} * p.h + h0 + out_unit, p.h,
               p.out - column0 - out_row, p.h - h0 - out_unit, p.h % 2 == 0);
  if (t != 0) return;
#pragma unroll
  for (int m = 0; m < 2; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int unit = h0 + in_unit + 16 * m + 8 * h + g, row = column0 + out_row + 16 * m + 8 * h + g;
      if (wants_b_a && in_column == 0 && unit < p.h) to.b_a[piece + unit] = b_a_sums[m][2 * h];
      if (wants_b_out && out_unit == 0 && row < p.out) to.b_out[piece + row] = b_out_sums[m][2 * h];
    }
}

}  // namespace

void launch_transition_weights(const KernelArgs& a, int index, bool gated, DType type, const NormInput& n,
                               const TransitionBackward& p, const TransitionSums& sums, float* partial) {
  const WeightPieces pieces = sums.pieces(n.rows);
  const dim3 grid(blocks_for(sums.hidden_tiles, 1), static_cast<unsigned>(sums.column_tiles),
                  static_cast<unsigned>(pieces.pieces));
  const auto at = [&](int64_t offset) { return offset < 0 ? nullptr : partial + offset; };
  const Partial to{at(sums.w_a), at(sums.w_b), at(sums.w_out), at(sums.b_a), at(sums.b_out), sums.floats};
  with_type(type, [&](auto t) {
    using T = decltype(t);
    const size_t bytes = WeightsSpace<T>(p.out).bytes();
    if (gated)
      launch(a, index, transition_weights<T, true>, grid, 256, bytes, n, p, to, pieces.rows_per_piece);
    else
      launch(a, index, transition_weights<T, false>, grid, 256, bytes, n, p, to, pieces.rows_per_piece);
  });
}

}  // namespace reckon::ops::gpu
