// The gradients of norm_linear for rows that fit tiles, in three launches: dx and the norm's parameters tile
// by tile of rows, the linears' parameters by pieces of the rows, and the sums of the pieces.
#include "ops/kernel/gpu/gradient_sums.cuh"
#include "ops/kernel/gpu/launch.cuh"
#include "ops/norm_linear/norm_linear.cuh"

namespace reckon::ops::gpu {
namespace {

struct GradientLinear {
  const void *weight, *gradient;  // W [out, c], dy [rows, out]
  int out, first_tile;            // first_tile: of kWeightTile rows of W, where its gradient is wanted
  bool weight_vectors, gradient_vectors;
  int64_t weight_sum, bias_sum;  // see NormLinearSums
};

struct GradientLinears {
  GradientLinear of[kMaxNormLinears];
  int count = 0;
};

template <class T, int MT, int NT>
struct RowsSpace {
  using Norm = NormGradient<MT, NT>;
  static constexpr int kRowOfG = tile_row<T>(kChunk<T>);
  int row_of_w, stage;  // elements

  RECKON_INLINE constexpr explicit RowsSpace(int c)
      : row_of_w(tile_row<T>(whole_steps(c))), stage(kTileRows * kRowOfG + kChunk<T> * row_of_w) {}
  RECKON_INLINE constexpr int floats_over() const {
    const int stages = 2 * stage * static_cast<int>(sizeof(T)) / 4;
    return stages > Norm::kNormalised ? stages : Norm::kNormalised;
  }
  RECKON_INLINE constexpr size_t bytes() const { return 4 * static_cast<size_t>(floats_over() + Norm::kKept); }
};

// dn = sum over the linears of dy_i W_i, then through the norm. A warp holds 16 MT whole rows, of up to 8 NT
// columns. Shared memory: two stages of dy's [128, kChunk] and W's [kChunk, c], overlaid by the normalised
// rows; what NormGradient keeps.
template <class T, int MT, int NT>
__global__ void __launch_bounds__(NormGradient<MT, NT>::kThreads, MT)
    norm_linear_rows(NormInput n, GradientLinears linears, Elements dx, float* partial, int64_t tiles_per_piece,
                     bool fours) {
  constexpr int kThreads = NormGradient<MT, NT>::kThreads, kRowOfG = RowsSpace<T, MT, NT>::kRowOfG;
  RECKON_DYNAMIC_SHARED(T, stages);
  const RowsSpace<T, MT, NT> space(n.c);
  float* const floats = reinterpret_cast<float*>(stages);
  const NormGradient<MT, NT> norm(n, floats, floats + space.floats_over());
  const int warp = threadIdx.x / 32, columns = whole_steps(n.c);

  for (int64_t i = 0; i < tiles_per_piece; ++i) {
    const int64_t row0 = (blockIdx.x * tiles_per_piece + i) * kTileRows;
    if (row0 >= n.rows) break;
    const int rows_left = n.rows - row0 < kTileRows ? static_cast<int>(n.rows - row0) : kTileRows;
    int stage = 0;
    const auto issue = [&](int linear, int k0) {
      const GradientLinear& l = linears.of[linear];
      T* const to = stages + stage * space.stage;
      copy_tile<kThreads>(to, kRowOfG, kTileRows, kChunk<T>,
                          static_cast<const T*>(l.gradient) + row0 * l.out + k0, l.out, rows_left, l.out - k0,
                          l.gradient_vectors);
      copy_tile<kThreads>(to + kTileRows * kRowOfG, space.row_of_w, kChunk<T>, columns,
                          static_cast<const T*>(l.weight) + int64_t{k0} * n.c, n.c, l.out - k0, n.c,
                          l.weight_vectors);
    };
    if (linears.count > 0) issue(0, 0);
    float dn[MT][NT][4];
    clear(dn);
    for (int linear = 0; linear < linears.count; ++linear) {
      const int out = linears.of[linear].out;
      for (int k0 = 0; k0 < out; k0 += kChunk<T>) {
        copy_async_wait();
        __syncthreads();
        const T* g = stages + stage * space.stage + 16 * MT * warp * kRowOfG;
        const T* w = stages + stage * space.stage + kTileRows * kRowOfG;
        stage ^= 1;
        if (k0 + kChunk<T> < out)
          issue(linear, k0 + kChunk<T>);
        else if (linear + 1 < linears.count)
          issue(linear + 1, 0);
        const int k = out - k0 < kChunk<T> ? whole_steps(out - k0) : kChunk<T>;
        if (columns == 8 * NT)
          multiply<Along::k, Along::rows>(dn, g, kRowOfG, w, space.row_of_w, k);
        else
          multiply<Along::k, Along::rows, true>(dn, g, kRowOfG, w, space.row_of_w, k, columns);
      }
    }
    norm.finish(dn, n, row0);
    if (dx) store_rows(dn, dx, row0 + 16 * MT * warp, n.rows, n.c, fours);
  }
  if (partial) norm.store_totals(n.c, partial + blockIdx.x * 2 * n.c);
}

template <class T>
constexpr int kDepth = kChunk<T>;  // rows of one step of the sums over rows

template <class T>
size_t weights_bytes() {
  return sizeof(T) * 4 * kDepth<T> * tile_row<T>(kWeightTile);
}

// dW_i = dy_i^T n and db_i: a block sums [128 rows of W, 128 columns] over one piece of the rows. Blocks: tiles
// of the weights' rows, of their columns, pieces. Shared memory: two stages of dy's and n's [kDepth, 128].
template <class T>
__global__ void __launch_bounds__(256) norm_linear_weights(NormInput n, GradientLinears linears, float* partial,
                                                           int64_t floats, int64_t rows_per_piece) {
  constexpr int kThreads = 256, kRow = tile_row<T>(kWeightTile), kStage = kDepth<T> * kRow;
  RECKON_DYNAMIC_SHARED(T, stages);
  int linear = 0;
  while (linear + 1 < linears.count && static_cast<int>(blockIdx.x) >= linears.of[linear + 1].first_tile)
    ++linear;
  const GradientLinear& l = linears.of[linear];
  const int out0 = (static_cast<int>(blockIdx.x) - l.first_tile) * kWeightTile,
            column0 = blockIdx.y * kWeightTile;
  const bool wants_weight = l.weight_sum >= 0, wants_bias = l.bias_sum >= 0 && blockIdx.y == 0;
  if (linears.count == 0 || (!wants_weight && !wants_bias)) return;
  const int64_t first = blockIdx.z * rows_per_piece,
                last = first + rows_per_piece < n.rows ? first + rows_per_piece : n.rows;
  const int warp = threadIdx.x / 32, warp_out = warp / 2 * 32, warp_column = warp % 2 * 64;

  NormColumns<T, kThreads, kDepth<T>> norm(n, column0);
  const auto issue = [&](int64_t row0, int stage) {
    copy_tile<kThreads>(stages + stage * 2 * kStage, kRow, kDepth<T>, kWeightTile,
                        static_cast<const T*>(l.gradient) + row0 * l.out + out0, l.out,
                        last - row0 < kDepth<T> ? static_cast<int>(last - row0) : kDepth<T>, l.out - out0,
                        l.gradient_vectors);
    if (wants_weight) norm.issue(n, row0, last);
  };
  float sums[2][8][4], bias_sums[2][4] = {};
  clear(sums);
  if (first < last) {
    issue(first, 0);
    if (wants_weight) norm.store(n, stages + kStage, kRow);
  }
  int stage = 0;
  for (int64_t row0 = first; row0 < last; row0 += kDepth<T>) {
    copy_async_wait();
    __syncthreads();
    const bool more = row0 + kDepth<T> < last;
    if (more) issue(row0 + kDepth<T>, stage ^ 1);
    const T* g = stages + stage * 2 * kStage + warp_out;
    if (wants_weight && out0 + warp_out < l.out && column0 + warp_column < n.c)
      multiply<Along::rows, Along::rows>(sums, g, kRow, stages + stage * 2 * kStage + kStage + warp_column,
                                         kRow, kDepth<T>);
    if (wants_bias && warp_column == 0) add_along_k<Along::rows>(bias_sums, g, kRow, kDepth<T>);
    stage ^= 1;
    if (more && wants_weight) norm.store(n, stages + stage * 2 * kStage + kStage, kRow);
  }
  float* const piece = partial + blockIdx.z * floats;
  if (wants_weight)
    store_sums(sums, piece + l.weight_sum + int64_t{out0 + warp_out} * n.c + column0 + warp_column, n.c,
               l.out - out0 - warp_out, n.c - column0 - warp_column, n.c % 2 == 0);
  if (wants_bias && warp_column == 0 && threadIdx.x % 4 == 0) {
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int row = out0 + warp_out + 16 * m + 8 * h + threadIdx.x % 32 / 4;
        if (row < l.out) piece[l.bias_sum + row] = bias_sums[m][2 * h];
      }
  }
}

// in x, norm weight, norm bias, mean, rstd, then W_i, dy_i. Launches and workspaces as norm_linear_backward's
// plan makes them: each of rows, weights and sums where there is something to do.
template <class T>
void backward(KernelArgs& a, const NormInput& n, uint32_t needs, int n_linears) {
  GradientLinears all, summed;
  const NormLinearSums where(needs, n_linears, n.c,
                             [&](int i) { return a.in[NormLinearBackwardInput::weight(i)].shape[0]; });
  int tiles = 0;
  for (int i = 0; i < n_linears; ++i) {
    const TensorArg &w = a.in[NormLinearBackwardInput::weight(i)], &dy = a.in[NormLinearBackwardInput::dout(i)];
    if (!dy.defined() || w.shape[0] == 0) continue;
    const GradientLinear l{w.data,          dy.data,          static_cast<int>(w.shape[0]),
                           tiles,           takes_vectors(w), takes_vectors(dy),
                           where.weight[i], where.bias[i]};
    all.of[all.count++] = l;
    if (l.weight_sum < 0 && l.bias_sum < 0) continue;
    summed.of[summed.count++] = l;
    tiles += (l.out + kWeightTile - 1) / kWeightTile;
  }
  int launches = 0, outputs = 0;
  const RowPieces tall(n.rows);
  const bool norm_sums = (needs & input_bits(NormLinearInput::norm_weight, NormLinearInput::norm_bias)) != 0;
  float* const row_sums = norm_sums ? reinterpret_cast<float*>(a.workspace[0]) : nullptr;
  float* const weight_sums = where.floats > 0 ? reinterpret_cast<float*>(a.workspace[norm_sums]) : nullptr;
  GradientSums sums;
  const TensorArg* dx = needs & input_bits(NormLinearInput::x) ? &a.out[outputs++] : nullptr;
  for (int i = 1; i < 3; ++i)
    if (needs >> i & 1u) sums.add(a.out[outputs++], row_sums + (i - 1) * n.c, tall.pieces, 2 * n.c);
  if (needs & kNormLinearNormInputs) {
    const auto run = [&](auto kernel, int threads, size_t bytes) {
      launch(a, launches++, kernel, blocks_for(tall.pieces, 1), threads, bytes, n, all,
             dx ? elements(*dx) : Elements{}, row_sums, tall.tiles_per_piece, dx && takes_fours(*dx, n.c));
    };
    if (n.c <= 128)
      run(norm_linear_rows<T, 2, 16>, 128, RowsSpace<T, 2, 16>(n.c).bytes());
    else if constexpr (sizeof(T) == 2)
      run(norm_linear_rows<T, 1, 32>, 256, RowsSpace<T, 1, 32>(n.c).bytes());
  }
  if (where.floats > 0) {
    const WeightPieces pieces = where.pieces(n.rows);
    const dim3 grid(blocks_for(tiles, 1), static_cast<unsigned>(where.column_tiles),
                    static_cast<unsigned>(pieces.pieces));
    launch(a, launches++, norm_linear_weights<T>, grid, 256, weights_bytes<T>(), n, summed, weight_sums,
           where.floats, pieces.rows_per_piece);
    for (int i = 0; i < n_linears; ++i) {
      if (where.weight[i] >= 0)
        sums.add(a.out[outputs++], weight_sums + where.weight[i], pieces.pieces, where.floats);
      if (where.bias[i] >= 0)
        sums.add(a.out[outputs++], weight_sums + where.bias[i], pieces.pieces, where.floats);
    }
  }
  if (needs & ~input_bits(NormLinearInput::x)) launch_sum_gradients(a, launches++, sums);
}

}  // namespace

void norm_linear_backward_gpu(KernelArgs& a) {
  using In = NormLinearBackwardInput;
  if (!fits_tiles(a.in[In::x].last(), a.in[In::weight(0)].dtype)) return norm_linear_backward_wide_gpu(a);
  const auto& attrs = a.as<NormLinearAttrs>();
  const NormInput n = norm_input(a.in[In::x], a.in[In::norm_weight], a.in[In::norm_bias], attrs.kind, attrs.eps,
                                 a.in[In::mean].as<float>(), a.in[In::rstd].as<float>());
  with_type(a.in[In::weight(0)].dtype,
            [&](auto t) { backward<decltype(t)>(a, n, attrs.needs, In::n_linears(a.n_in)); });
}

}  // namespace reckon::ops::gpu
