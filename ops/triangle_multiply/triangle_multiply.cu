// The triangle multiplication forward in three launches: projections and gates of all positions, the library's
// products over the channels, and the output. See triangle_multiply_gpu.h.
#include <algorithm>

#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/launch.cuh"
#include "ops/kernel/plan/device_gemm.h"
#include "ops/triangle_multiply/triangle_multiply.cuh"
#include "ops/triangle_multiply/triangle_products.cuh"

namespace reckon::ops::gpu {
namespace {

// kColumns: of the weights' rows at a time; of a side 32 channels with their gates.
constexpr int kThreads = 128, kColumns = 64;

struct ProjectedSide {
  const void *value, *gate, *value_bias, *gate_bias;
  void *kept_value, *kept_gate;  // [positions, c], or null
  void* channels;                // a or b
};

struct Projections {
  ProjectedSide side[2];
  const void *w_g, *b_g;
  void* g;  // [positions, c_out], before the sigmoid
  Elements mask;
  Channels layout;
  int c, c_out, side_tiles, tiles;
  bool vectors, side_fours, g_fours;
};

template <class T>
size_t project_bytes(int cz) {
  return sizeof(T) * (kTileRows * tile_row<T>(whole_steps(cz)) + 2 * kColumns * tile_row<T>(kChunk<T>) +
                      kColumns / 2 * PaddedTile<T, kTileRows>::kRow);
}

// Blocks: tiles of positions by groups of column tiles, the latter more than one only where
// positions are few. Shared memory: normalised rows [128, cz], two stages of weights [64, kChunk], a
// gated tile [32 channels, 128 positions].
template <class T>
__global__ void __launch_bounds__(kThreads, 3)
    triangle_project(NormInput n, Projections p, int tiles_per_group, bool keeps) {
  RECKON_DYNAMIC_SHARED(T, rows);
  constexpr int kRowOfStage = tile_row<T>(kChunk<T>), kHalf = kColumns / 2;
  const int columns = whole_steps(n.c), row_of_tile = tile_row<T>(columns),
            steps = (columns + kChunk<T> - 1) / kChunk<T>;
  T* const stages = rows + kTileRows * row_of_tile;
  const PaddedTile<T, kTileRows> gated{stages + 2 * kColumns * kRowOfStage};
  const int64_t row0 = int64_t{blockIdx.x} * kTileRows;
  const int first = blockIdx.y * tiles_per_group,
            last = first + tiles_per_group < p.tiles ? first + tiles_per_group : p.tiles;
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;

  int stage = 0;
  const auto issue = [&](int tile, int step) {
    T* const to = stages + stage * kColumns * kRowOfStage;
    const int k0 = step * kChunk<T>;
    const auto copy = [&](T* at, int height, const void* weight, int out0, int out) {
      copy_tile<kThreads>(at, kRowOfStage, height, kChunk<T>,
                          static_cast<const T*>(weight) + int64_t{out0} * n.c + k0, n.c, out - out0, n.c - k0,
                          p.vectors);
    };
    if (tile >= 2 * p.side_tiles)
      return copy(to, kColumns, p.w_g, (tile - 2 * p.side_tiles) * kColumns, p.c_out);
    const ProjectedSide& side = p.side[tile >= p.side_tiles];
    const int ch0 = tile % p.side_tiles * kHalf;
    copy(to, kHalf, side.value, ch0, p.c);
    copy(to + kHalf * kRowOfStage, kHalf, side.gate, ch0, p.c);
  };
  if (first < last) issue(first, 0);
  norm_tile<true, kThreads>(n, row0, rows, row_of_tile, keeps && blockIdx.y == 0);

  const Passage<T, kTileRows, kThreads> passage(p.layout, row0, n.rows);
  const int64_t warp_row = row0 + 32 * warp;
  const int rows_left = n.rows - warp_row < 32 ? static_cast<int>(n.rows - warp_row) : 32;
  float mask[2][2];
#pragma unroll
  for (int m = 0; m < 2; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h)
      mask[m][h] =
          p.mask && 16 * m + 8 * h + g < rows_left ? load(p.mask, warp_row + 16 * m + 8 * h + g) : 1.0f;
  float sums[2][8][4];
  for (int tile = first; tile < last; ++tile) {
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
      multiply<Along::k, Along::k>(sums, rows + 32 * warp * row_of_tile + k0, row_of_tile, weight, kRowOfStage,
                                   k);
    }
    if (tile >= 2 * p.side_tiles) {
      const int out0 = (tile - 2 * p.side_tiles) * kColumns,
                width = p.c_out - out0 < kColumns ? p.c_out - out0 : kColumns;
      if (p.b_g) add_bias(sums, static_cast<const T*>(p.b_g) + out0, width);
      store_sums(sums, static_cast<T*>(p.g) + warp_row * p.c_out + out0, p.c_out, rows_left, width, p.g_fours);
      continue;
    }
    const ProjectedSide& side = p.side[tile >= p.side_tiles];
    const int ch0 = tile % p.side_tiles * kHalf, width = p.c - ch0 < kHalf ? p.c - ch0 : kHalf;
    if (side.value_bias) add_bias<0, 4>(sums, static_cast<const T*>(side.value_bias) + ch0, width);
    if (side.gate_bias) add_bias<4, 4>(sums, static_cast<const T*>(side.gate_bias) + ch0, width);
    if (keeps) {
      store_sums<0, 4>(sums, static_cast<T*>(side.kept_value) + warp_row * p.c + ch0, p.c, rows_left, width,
                       p.side_fours);
      store_sums<4, 4>(sums, static_cast<T*>(side.kept_gate) + warp_row * p.c + ch0, p.c, rows_left, width,
                       p.side_fours);
    }
    // From the values as they are kept, so that backward sees the same a and b.
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int m = 0; m < 2; ++m)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const float v =
              sigmoid<T>(rounded<T>(sums[m][i + 4][e])) * rounded<T>(sums[m][i][e]) * mask[m][e / 2];
          gated.at(8 * i + 2 * t + e % 2, 32 * warp + 16 * m + e / 2 * 8 + g) = from_float<T>(v);
        }
    __syncthreads();
    passage.store(gated, static_cast<T*>(side.channels) + ch0 * p.layout.channel, width);
  }
}

struct Output {
  const void *t, *weight, *bias;  // t [B, c, r, ld]; w_z, b_z
  void *kept_t, *kept_o, *out;    // [positions, c], [positions, c_out]; kept ones or null
  const void* g;                  // [positions, c_out]; may be `out` itself
  Elements norm_weight, norm_bias;
  float *mean, *rstd;  // or null
  Channels layout;
  float eps;
  int c, c_out;
  bool vectors, t_vectors, out_fours, g_pairs;
};

template <class T>
size_t output_bytes(int c) {
  return sizeof(T) * (whole_steps(c) * PaddedTile<T, kTileRows>::kRow + 2 * kColumns * tile_row<T>(kChunk<T>)) +
         2 * sizeof(float) * whole_steps(c);
}

// A block takes 128 positions. Shared memory: t [c, 128], which becomes LN(t), two stages of w_z [64,
// kChunk], the norm's parameters.
template <class T>
__global__ void __launch_bounds__(kThreads, 3) triangle_output(Output p) {
  RECKON_DYNAMIC_SHARED(T, shared);
  constexpr int kRow = PaddedTile<T, kTileRows>::kRow, kRowOfStage = tile_row<T>(kChunk<T>);
  const int columns = whole_steps(p.c), steps = (columns + kChunk<T> - 1) / kChunk<T>,
            tiles = (p.c_out + kColumns - 1) / kColumns;
  const PaddedTile<T, kTileRows> tile{shared};
  T* const stages = shared + columns * kRow;
  float* const norm_weight = reinterpret_cast<float*>(stages + 2 * kColumns * kRowOfStage);
  float* const norm_bias = norm_weight + columns;
  const int64_t row0 = int64_t{blockIdx.x} * kTileRows, positions = p.layout.positions;
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;

  const Passage<T, kTileRows, kThreads> passage(p.layout, row0, positions);
  passage.load(tile, static_cast<const T*>(p.t), columns, p.c);
  for (int j = threadIdx.x; j < p.c; j += kThreads) {
    norm_weight[j] = load(p.norm_weight, j);
    norm_bias[j] = p.norm_bias ? load(p.norm_bias, j) : 0.0f;
  }
  copy_async_wait();
  __syncthreads();
  int stage = 0;
  const auto issue = [&](int out0, int k0) {
    copy_tile<kThreads>(stages + stage * kColumns * kRowOfStage, kRowOfStage, kColumns, kChunk<T>,
                        static_cast<const T*>(p.weight) + int64_t{out0} * p.c + k0, p.c, p.c_out - out0,
                        p.c - k0, p.vectors);
  };
  issue(0, 0);
  if (p.kept_t) {
    // Two vectors of a position side by side fill a sector of memory.
    for (int i = threadIdx.x; i / 256 * 2 * kVector<T> < p.c; i += kThreads) {
      const int position = i / 2 % kTileRows, channel = (i / 256 * 2 + i % 2) * kVector<T>;
      if (row0 + position >= positions || channel >= p.c) continue;
      T* const to = static_cast<T*>(p.kept_t) + (row0 + position) * p.c + channel;
      if (p.t_vectors) {
        float v[kVector<T>];
#pragma unroll
        for (int k = 0; k < kVector<T>; ++k) v[k] = to_float(tile.at(channel + k, position));
        *reinterpret_cast<uint4*>(to) = packed_vector<T>(v);
      } else {
        for (int k = 0; k < kVector<T> && channel + k < p.c; ++k) to[k] = tile.at(channel + k, position);
      }
    }
  }
  {  // A thread per position.
    const int position = threadIdx.x;
    float mean = 0, squares = 0;
    for (int j = 0; j < p.c; ++j) mean += to_float(tile.at(j, position));
    mean /= static_cast<float>(p.c);
    for (int j = 0; j < p.c; ++j) {
      const float d = to_float(tile.at(j, position)) - mean;
      squares += d * d;
    }
    const float rstd = 1.0f / sqrtf(squares / static_cast<float>(p.c) + p.eps);
    if (p.mean && row0 + position < positions) {
      p.mean[row0 + position] = mean;
      p.rstd[row0 + position] = rstd;
    }
    __syncthreads();  // all of t has been read
    for (int j = 0; j < p.c; ++j)
      tile.at(j, position) =
          from_float<T>((to_float(tile.at(j, position)) - mean) * rstd * norm_weight[j] + norm_bias[j]);
  }

  const int64_t warp_row = row0 + 32 * warp;
  const int rows_left = positions - warp_row < 32 ? static_cast<int>(positions - warp_row) : 32;
  float sums[2][8][4];
  for (int i = 0; i < tiles; ++i) {
    const int out0 = i * kColumns, width = p.c_out - out0 < kColumns ? p.c_out - out0 : kColumns;
    clear(sums);
    for (int step = 0; step < steps; ++step) {
      copy_async_wait();
      __syncthreads();
      const T* weight = stages + stage * kColumns * kRowOfStage;
      stage ^= 1;
      if (step + 1 < steps)
        issue(out0, (step + 1) * kChunk<T>);
      else if (i + 1 < tiles)
        issue(out0 + kColumns, 0);
      const int k0 = step * kChunk<T>, k = columns - k0 < kChunk<T> ? columns - k0 : kChunk<T>;
      multiply<Along::rows, Along::k>(sums, tile.data + k0 * kRow + 32 * warp, kRow, weight, kRowOfStage, k);
    }
    if (p.bias) add_bias(sums, static_cast<const T*>(p.bias) + out0, width);
    const int64_t at = warp_row * p.c_out + out0;
    if (p.kept_o) store_sums(sums, static_cast<T*>(p.kept_o) + at, p.c_out, rows_left, width, p.out_fours);
    const T* const gate = static_cast<const T*>(p.g) + at + g * p.c_out + 2 * t;
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h)
#pragma unroll
        for (int n = 0; n < 8; ++n) {
          const int row = 16 * m + 8 * h, column = 8 * n + 2 * t;
          if (row + g >= rows_left || column >= width) continue;
          const float2 v =
              pair_of<T>(load_pair_bits(gate + int64_t{row} * p.c_out + 8 * n, p.g_pairs, column + 1 < width));
          sums[m][n][2 * h] = rounded<T>(sums[m][n][2 * h]) * sigmoid<T>(v.x);
          sums[m][n][2 * h + 1] = rounded<T>(sums[m][n][2 * h + 1]) * sigmoid<T>(v.y);
        }
    __syncwarp();  // where the gate lies in `out`, other lanes write what this one has read
    store_sums(sums, static_cast<T*>(p.out) + at, p.c_out, rows_left, width, p.out_fours);
  }
}

template <class T>
void forward(KernelArgs& a, const TriangleSizes& s) {
  using namespace triangle;
  const auto& attrs = a.as<TriangleMultiplyAttrs>();
  const bool keeps = a.n_out > 1;
  const TensorArg* kept = a.out + 1;
  const auto kept_data = [&](int k) -> void* { return keeps ? kept[k].data : nullptr; };
  const Channels layout = channels_of(s);
  const NormInput n =
      norm_input(a.in[z], a.in[ln_in_w], a.in[ln_in_b], NormKind::layer, attrs.eps,
                 static_cast<float*>(kept_data(mean_in)), static_cast<float*>(kept_data(rstd_in)));
  const auto all_fours = [&](std::initializer_list<int> which, int64_t width) {
    for (int k : which)
      if (keeps && !takes_fours(kept[k], width)) return false;
    return true;
  };
  Projections p{.side = {{a.in[w_a].data, a.in[w_ag].data, a.in[b_a].data, a.in[b_ag].data, kept_data(pa),
                          kept_data(pag), a.workspace[1]},
                         {a.in[w_b].data, a.in[w_bg].data, a.in[b_b].data, a.in[b_bg].data, kept_data(pb),
                          kept_data(pbg), a.workspace[2]}},
                .w_g = a.in[w_g].data,
                .b_g = a.in[b_g].data,
                .g = keeps ? kept[g].data : a.out[0].data,
                .mask = elements(a.in[mask]),
                .layout = layout,
                .c = static_cast<int>(s.c),
                .c_out = static_cast<int>(s.c_out),
                .side_tiles = static_cast<int>((s.c + 31) / 32),
                .tiles = 0,
                .vectors = true,
                .side_fours = s.c % 4 == 0 && all_fours({pa, pag, pb, pbg}, s.c),
                .g_fours = takes_fours(keeps ? kept[g] : a.out[0], s.c_out)};
  p.tiles = 2 * p.side_tiles + (p.c_out + kColumns - 1) / kColumns;
  for (int k : {w_a, w_ag, w_b, w_bg, w_g}) p.vectors &= takes_vectors(a.in[k]);
  const unsigned row_tiles = blocks_for(n.rows, kTileRows);
  const int groups = std::clamp<int>(static_cast<int>(264 / row_tiles), 1, p.tiles),
            per_group = (p.tiles + groups - 1) / groups;
  launch(a, 0, triangle_project<T>, dim3(row_tiles, (p.tiles + per_group - 1) / per_group), kThreads,
         project_bytes<T>(n.c), n, p, per_group, keeps);

  // t = a b^T (outgoing) or a^T b.
  multiply_channels(a, 1, s, {a.workspace[1], !attrs.outgoing}, {a.workspace[2], attrs.outgoing},
                    a.workspace[3]);

  const Output o{.t = a.workspace[3],
                 .weight = a.in[w_z].data,
                 .bias = a.in[b_z].data,
                 .kept_t = kept_data(t),
                 .kept_o = kept_data(triangle::o),
                 .out = a.out[0].data,
                 .g = p.g,
                 .norm_weight = elements(a.in[ln_out_w]),
                 .norm_bias = elements(a.in[ln_out_b]),
                 .mean = static_cast<float*>(kept_data(mean_out)),
                 .rstd = static_cast<float*>(kept_data(rstd_out)),
                 .layout = layout,
                 .eps = static_cast<float>(attrs.eps),
                 .c = p.c,
                 .c_out = p.c_out,
                 .vectors = takes_vectors(a.in[w_z]),
                 .t_vectors = keeps && takes_vectors(kept[t]),
                 .out_fours = takes_fours(a.out[0], s.c_out) && all_fours({triangle::o}, s.c_out),
                 .g_pairs = s.c_out % 2 == 0 && reinterpret_cast<uintptr_t>(p.g) % 8 == 0};
  launch(a, 2, triangle_output<T>, row_tiles, kThreads, output_bytes<T>(p.c), o);
}

// in as in triangle::Input; out: out, then what is kept as in triangle::Kept. Workspaces:
// library, a, b and t by channels.
void triangle_multiply_gpu(KernelArgs& a) {
  using namespace triangle;
  const TensorArg& zt = a.in[z];
  const TriangleSizes s{zt.shape[0],        zt.shape[1],        zt.shape[3],
                        a.in[w_a].shape[0], a.in[w_z].shape[0], a.in[w_a].dtype};
  with_type(s.low, [&](auto type) { forward<decltype(type)>(a, s); });
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(triangle_multiply) {
  return {{"triangle_multiply", triangle_multiply_gpu},
          {"triangle_multiply_backward", triangle_multiply_backward_gpu}};
}
