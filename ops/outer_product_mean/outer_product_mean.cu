// The outer product mean forward, outer products first: a block takes 8 x 8 pairs and 128 outputs, and goes
// through the channels in steps of 16 x 16, whose products it makes in shared memory and projects from
// there. See outer_product_mean_gpu.h.
#include "ops/outer_product_mean/outer_product_mean.cuh"

#include "ops/kernel/gpu/gpu_kernels.h"

namespace reckon::ops::gpu {
namespace {

// A block counts 16 x 16 pairs.
__global__ void __launch_bounds__(256)
    pair_scales(Elements mask, float* to, OuterDims d, int tiles, bool after, float eps) {
  constexpr int kSide = 16, kDepth = 64;
  __shared__ float rows[kDepth][kSide], columns[kDepth][kSide];
  const int64_t batch = blockIdx.x / (int64_t{tiles} * tiles);
  const int tile = blockIdx.x % (int64_t{tiles} * tiles), i0 = tile / tiles * kSide, j0 = tile % tiles * kSide;
  const int i = threadIdx.x / kSide, j = threadIdx.x % kSide;
  float count = 0;
  for (int s0 = 0; s0 < d.s; s0 += kDepth) {
    for (int k = threadIdx.x; k < kDepth * kSide; k += 256) {
      const int s = k / kSide, x = k % kSide;
      const int64_t row = (batch * d.s + s0 + s) * d.r;
      rows[s][x] = s0 + s < d.s && i0 + x < d.r ? load(mask, row + i0 + x) : 0.0f;
      columns[s][x] = s0 + s < d.s && j0 + x < d.r ? load(mask, row + j0 + x) : 0.0f;
    }
    __syncthreads();
#pragma unroll 8
    for (int s = 0; s < kDepth; ++s) count += rows[s][i] * columns[s][j];
    __syncthreads();
  }
  if (i0 + i < d.r && j0 + j < d.r)
    to[(batch * d.r + i0 + i) * d.r + j0 + j] = 1.0f / (after ? eps + count : (1.0f > count ? 1.0f : count));
}

template <class T>
struct ForwardSpace {
  using Tile = OuterTile<T>;
  // kChannels: channels p of a step of weights.
  static constexpr int kOutputs = 128, kWeightStep = kChunk<T>, kChannels = kWeightStep / kPairChannels;
  static constexpr int kRowOfWeight = tile_row<T>(kWeightStep), kWeight = kOutputs * kRowOfWeight;
  static constexpr size_t kBytes = sizeof(T) * (2 * Tile::kStage + Tile::kTile + 2 * kWeight);
};

// Blocks: pairs of tiles of each batch element; tiles of 128 outputs. Shared memory: two stages of a and b, the
// products [64 pairs, 16 p, 16 q], two stages of weights [128, kWeightStep].
template <class T>
__global__ void __launch_bounds__(256, 1)
    outer_forward(Source a, Source b, Source weight, Elements bias, PairScales scales, T* out, OuterDims d,
                  int tiles, bool before, bool fours) {
  using Space = ForwardSpace<T>;
  using Tile = OuterTile<T>;
  RECKON_DYNAMIC_SHARED(T, stages);
  T* const pairs = stages + 2 * Tile::kStage;
  T* const weights = pairs + Tile::kTile;
  const int batch = blockIdx.x / (tiles * tiles), tile_of_batch = blockIdx.x % (tiles * tiles),
            i0 = tile_of_batch / tiles * kPairRows, j0 = tile_of_batch % tiles * kPairRows;
  const int z0 = blockIdx.y * Space::kOutputs, warp = threadIdx.x / 32, t = threadIdx.x % 4,
            g = threadIdx.x % 32 / 4;
  const int warp_pair = warp / 4 * 32, warp_z = warp % 4 * 32;
  const Tile tile{a, b, d, batch};
  const int steps = tile.steps(), across = (d.c + kPairChannels - 1) / kPairChannels;

  int stage = 0, weight_stage = 0;
  const auto issue = [&](int chunk, int step) {
    tile.issue(stages + stage * Tile::kStage, step, i0, j0, chunk / across * kPairChannels,
               chunk % across * kPairChannels);
  };
  const auto issue_weight = [&](int chunk, int step) {
    load_weight<256, Space::kOutputs, Space::kChannels>(
        weights + weight_stage * Space::kWeight, Space::kRowOfWeight, weight, d, z0,
        chunk / across * kPairChannels + step * Space::kChannels, chunk % across * kPairChannels);
  };
  float y[2][4][4];
  clear(y);
  issue(0, 0);
  for (int chunk = 0; chunk < across * across; ++chunk) {
    float sums[2][8][4];
    clear(sums);
    for (int step = 0; step < steps; ++step) {
      copy_async_wait();
      __syncthreads();
      const T* at = stages + stage * Tile::kStage;
      stage ^= 1;
      if (step + 1 < steps)
        issue(chunk, step + 1);
      else
        issue_weight(chunk, 0);
      tile.add(sums, at);
    }
    tile.store(sums, pairs, [](int, int) { return 1.0f; });
    const int channels = d.c - chunk / across * kPairChannels < kPairChannels
                             ? d.c - chunk / across * kPairChannels
                             : kPairChannels;
    for (int p = 0; p < channels; p += Space::kChannels) {
      copy_async_wait();
      __syncthreads();
      const T* at = weights + weight_stage * Space::kWeight;
      weight_stage ^= 1;
      if (p + Space::kChannels < channels)
        issue_weight(chunk, p / Space::kChannels + 1);
      else if (chunk + 1 < across * across)
        issue(chunk + 1, 0);
      if (z0 + warp_z < d.cz)
        multiply<Along::k, Along::k>(y, pairs + warp_pair * Tile::kRowOfPairs + p * kPairChannels,
                                     Tile::kRowOfPairs, at + warp_z * Space::kRowOfWeight, Space::kRowOfWeight,
                                     Space::kWeightStep);
    }
  }
  const int columns = d.cz - z0 - warp_z, rows = d.r - j0 < kPairRows ? d.r - j0 : kPairRows;
#pragma unroll
  for (int m = 0; m < 2; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int i = i0 + warp_pair / kPairRows + 2 * m + h;
      const int64_t pair = int64_t{batch * d.r + i} * d.r + j0;
      const float f = i < d.r && g < rows ? scales.at(pair + g) : 1.0f;
      float row[1][4][4];
#pragma unroll
      for (int n = 0; n < 4; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int column = 8 * n + 2 * t + e;
          const float plus = bias && column < columns ? load(bias, z0 + warp_z + column) : 0.0f,
                      v = y[m][n][2 * h + e];
          row[0][n][e] = before ? v * f + plus : (v + plus) * f;
          row[0][n][2 + e] = 0;
        }
      store_sums(row, out + pair * d.cz + z0 + warp_z, d.cz, i < d.r ? rows : 0, columns, fours);
    }
}

// in a, b, weight, bias, mask. Workspaces: the pairs' factors if there is a mask to
// count, U if a is projected first.
void outer_product_mean_gpu(KernelArgs& a) {
  const auto& attrs = a.as<OuterProductMeanAttrs>();
  using In = OuterProductMeanInput;
  const TensorArg &left = a.in[In::a], &weight = a.in[In::weight], &mask = a.in[In::mask], &out = a.out[0];
  const OuterSizes n{left.shape[0], left.shape[1], left.shape[2], left.shape[3], weight.shape[0]};
  const bool counts = attrs.normalize != OuterNormalize::none && mask.defined();
  const PairScales scales = counts ? launch_pair_scales(a, 0, mask, n, reinterpret_cast<float*>(a.workspace[0]))
                                   : scale_of_all(attrs, n);
  if (outer_tiles(n, false).project_first)
    return launch_projected_forward(a, counts, n, scales, a.workspace[counts]);
  const int64_t tiles = ceil_div(n.r, kPairRows);
  with_type(weight.dtype, [&](auto type) {
    using T = decltype(type);
    const dim3 grid(blocks_for(n.batch * tiles * tiles, 1), blocks_for(n.cz, ForwardSpace<T>::kOutputs));
    launch(a, counts, outer_forward<T>, grid, 256, ForwardSpace<T>::kBytes, source_of(left, weight.dtype, n.c),
           source_of(a.in[In::b], weight.dtype, n.c), source_of(weight, weight.dtype, n.c),
           elements(a.in[In::bias]), scales, out.as<T>(), dims_of(n), tiles,
           attrs.normalize == OuterNormalize::divide_before, takes_fours(out, n.cz));
  });
}

}  // namespace

PairScales launch_pair_scales(const KernelArgs& a, int index, const TensorArg& mask, const OuterSizes& n,
                              float* to) {
  const auto& attrs = a.as<OuterProductMeanAttrs>();
  const int64_t tiles = ceil_div(n.r, 16);
  launch(a, index, pair_scales, blocks_for(n.batch * tiles * tiles, 1), 256, 0, elements(mask), to, dims_of(n),
         tiles, attrs.normalize == OuterNormalize::divide_after, attrs.eps);
  return {to, 1.0f};
}

PairScales scale_of_all(const OuterProductMeanAttrs& attrs, const OuterSizes& n) {
  const float all = static_cast<float>(n.s);
  switch (attrs.normalize) {
    case OuterNormalize::none:
      return {};
    case OuterNormalize::divide_after:
      return {nullptr, 1.0f / (static_cast<float>(attrs.eps) + all)};
    case OuterNormalize::divide_before:
      return {nullptr, 1.0f / (all < 1 ? 1.0f : all)};
  }
  return {};
}

}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(outer_product_mean) {
  return {{"outer_product_mean", outer_product_mean_gpu},
          {"outer_product_mean_backward", outer_product_mean_backward_gpu}};
}
