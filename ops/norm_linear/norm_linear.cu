// norm_linear for rows that fit tiles. A block normalises 128 rows into shared memory, where they stay while
// the weights stream past; 16-bit types multiply on tensor cores. See norm_linear_gpu.h.
#include <algorithm>

#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/launch.cuh"
#include "ops/norm_linear/norm_linear.cuh"

namespace reckon::ops::gpu {
namespace {

constexpr int kThreads = 128, kColumns = 64;  // of the weights' rows at a time

struct ForwardLinear {
  const void *weight, *bias;
  void* y;
  int out, first_tile;
  bool vectors, fours;  // of the weight, of y
};

struct ForwardLinears {
  ForwardLinear of[kMaxNormLinears];
  int count = 0, tiles = 0;

  __device__ __forceinline__ const ForwardLinear& of_tile(int tile) const {
    int i = 0;
    while (i + 1 < count && tile >= of[i + 1].first_tile) ++i;
    return of[i];
  }
};

template <class T>
size_t forward_bytes(int c) {
  return sizeof(T) * (kTileRows * tile_row<T>(whole_steps(c)) + 2 * kColumns * tile_row<T>(kChunk<T>));
}

// Blocks: tiles of rows by groups of column tiles, the latter more than one only where rows are few. Shared
// memory: normalised rows [128, c], two stages of a weight's [64, kChunk].
template <class T>
__global__ void __launch_bounds__(kThreads, 3)
    norm_linear_forward(NormInput n, ForwardLinears linears, int tiles_per_group) {
  RECKON_DYNAMIC_SHARED(T, rows);
  constexpr int kRowOfStage = tile_row<T>(kChunk<T>);
  const int columns = whole_steps(n.c), row_of_tile = tile_row<T>(columns),
            steps = (columns + kChunk<T> - 1) / kChunk<T>;
  T* const stages = rows + kTileRows * row_of_tile;
  const int64_t row0 = int64_t{blockIdx.x} * kTileRows;
  const int first = blockIdx.y * tiles_per_group,
            last = first + tiles_per_group < linears.tiles ? first + tiles_per_group : linears.tiles;
  const int warp = threadIdx.x / 32;

  int stage = 0;
  const auto issue = [&](int tile, int step) {
    const ForwardLinear& l = linears.of_tile(tile);
    const int out0 = (tile - l.first_tile) * kColumns, k0 = step * kChunk<T>;
    copy_tile<kThreads>(stages + stage * kColumns * kRowOfStage, kRowOfStage, kColumns, kChunk<T>,
                        static_cast<const T*>(l.weight) + int64_t{out0} * n.c + k0, n.c, l.out - out0, n.c - k0,
                        l.vectors);
  };
  if (first < last) issue(first, 0);
  norm_tile<true, kThreads>(n, row0, rows, row_of_tile, blockIdx.y == 0);

  const int64_t warp_row = row0 + 32 * warp;
  const int rows_left = n.rows - warp_row < 32 ? static_cast<int>(n.rows - warp_row) : 32;
  float sums[2][8][4];
  for (int tile = first; tile < last; ++tile) {
    const ForwardLinear& l = linears.of_tile(tile);
    const int out0 = (tile - l.first_tile) * kColumns,
              width = l.out - out0 < kColumns ? l.out - out0 : kColumns;
    clear(sums);
    for (int step = 0; step < steps; ++step) {
      copy_async_wait();
      __syncthreads();
      const T* weight = stages + stage * kColumns * kRowOfStage;
      stage ^= 1;
      if (step + 1 < steps)
        issue(tile, step + 1);
      else if (tile + 1 < last)
        issue(tile + 1, 0);
      const int k0 = step * kChunk<T>, k = columns - k0 < kChunk<T> ? columns - k0 : kChunk<T>;
      const T* a = rows + 32 * warp * row_of_tile + k0;
      if (width > 32)
        multiply<Along::k, Along::k>(sums, a, row_of_tile, weight, kRowOfStage, k);
      else
        multiply<Along::k, Along::k, true>(sums, a, row_of_tile, weight, kRowOfStage, k, width);
    }
    if (l.bias) add_bias(sums, static_cast<const T*>(l.bias) + out0, width);
    store_sums(sums, static_cast<T*>(l.y) + warp_row * l.out + out0, l.out, rows_left, width, l.fours);
  }
}

template <class T>
void forward(KernelArgs& a, const NormInput& n) {
  ForwardLinears linears;
  for (int i = 0; 3 + 2 * i < a.n_in; ++i) {
    const TensorArg &w = a.in[NormLinearInput::weight(i)], &y = a.out[i];
    const int out = static_cast<int>(w.shape[0]);
    if (out == 0) continue;
    linears.of[linears.count++] = {w.data,
                                   a.in[NormLinearInput::bias(i)].data,
                                   y.data,
                                   out,
                                   linears.tiles,
                                   takes_vectors(w),
                                   takes_fours(y, out)};
    linears.tiles += (out + kColumns - 1) / kColumns;
  }
  const unsigned row_tiles = blocks_for(n.rows, kTileRows);
  const int groups = std::clamp<int>(static_cast<int>(264 / row_tiles), 1, std::max(linears.tiles, 1));
  const int per_group = std::max((linears.tiles + groups - 1) / groups, 1);
  const dim3 grid(row_tiles, std::max((linears.tiles + per_group - 1) / per_group, 1));
  launch(a, 0, norm_linear_forward<T>, grid, kThreads, forward_bytes<T>(n.c), n, linears, per_group);
}

void norm_linear_gpu(KernelArgs& a) {
  using In = NormLinearInput;
  if (!fits_tiles(a.in[In::x].last(), a.in[In::weight(0)].dtype)) return norm_linear_wide_gpu(a);
  const auto& attrs = a.as<NormLinearAttrs>();
  const int n_linears = NormLinearInput::n_linears(a.n_in);
  const bool layer = attrs.kind == NormKind::layer;
  const NormInput n =
      norm_input(a.in[In::x], a.in[In::norm_weight], a.in[In::norm_bias], attrs.kind, attrs.eps,
                 layer ? a.out[n_linears].as<float>() : nullptr, a.out[a.n_out - 1].as<float>());
  with_type(a.in[In::weight(0)].dtype, [&](auto t) { forward<decltype(t)>(a, n); });
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(norm_linear) {
  return {{"norm_linear", norm_linear_gpu}, {"norm_linear_backward", norm_linear_backward_gpu}};
}
