// The gradients of the outer product mean, outer products first, in two kernels that make what they need in
// shared memory: for da and db the gradient of the products, dP_ij = f_ij W^T g_ij, for the weight the products
// themselves. See outer_product_mean_gpu.h.
#include "ops/kernel/gpu/gradient_sums.cuh"
#include "ops/outer_product_mean/outer_product_mean.cuh"

namespace reckon::ops::gpu {
namespace {

template <class T, int MT>
struct SidesSpace {
  using Tile = OuterTile<T>;
  static constexpr int kRows = 64 * MT;  // s of a block
  static constexpr int kRowOfStep = tile_row<T>(kStep<T>), kRowOfWeight = tile_row<T>(Tile::kChannels),
                       kRowOfProducts = tile_row<T>(Tile::kSide);
  // kBack: a stage of g and W.
  static constexpr int kGradient = Tile::kPairs * kRowOfStep, kBack = kGradient + kStep<T> * kRowOfWeight;
  static constexpr int kProducts = Tile::kSide * kRowOfProducts, kSide = kRows * kRowOfStep;
  static constexpr size_t kBytes = sizeof(T) * (2 * kBack + kProducts + 2 * kSide);
};

// A block sums 64 MT rows s and 8 rows by 16 channels (i, p) of da, or (j, q) of db, going
// through all of the other side:
//   da[s, i, p] = sum over j and q of dP_ij[p, q] b[s, j, q]
//   db[s, j, q] = sum over i and p of dP_ij[p, q] a[s, i, p]
// Blocks: rows and channels of the own side; tiles of s; batch elements, of each side that is wanted.
// Shared memory: two stages of g [64 pairs, kStep] and W [kStep, 16 p, 16 q], dP [(i, p), (j, q)], two
// stages of the other side [s, kStep].
template <class T, int MT>
__global__ void __launch_bounds__(256, 1)
    outer_sides(Source dy, Source a, Source b, Source weight, PairScales scales, Elements da, Elements db,
                OuterDims d, int s_tiles, bool da_pairs, bool db_pairs) {
  using Space = SidesSpace<T, MT>;
  using Tile = OuterTile<T>;
  RECKON_DYNAMIC_SHARED(T, back);
  T* const products = back + 2 * Space::kBack;
  T* const sides = products + Space::kProducts;
  const int tiles = (d.r + kPairRows - 1) / kPairRows, across = (d.c + kPairChannels - 1) / kPairChannels,
            each = tiles * across;
  const int own = blockIdx.x % each, s0 = blockIdx.x / each % s_tiles * Space::kRows;
  const int batch_and_side = blockIdx.x / each / s_tiles;
  const bool of_db = !da || (db && batch_and_side % 2 == 1);
  const int batch = da && db ? batch_and_side / 2 : batch_and_side;
  const int own0 = own / across * kPairRows, own_channel0 = own % across * kPairChannels;
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const Source side{chosen(of_db, a.from, b.from), of_db ? a.vectors : b.vectors};

  struct At {
    int other, channel;
  };
  const auto other_of = [&](int k) { return At{k / across * kPairRows, k % across * kPairChannels}; };
  int back_stage = 0, side_stage = 0;
  const auto issue_back = [&](int k, int z0) {
    const At other = other_of(k);
    const int i0 = of_db ? other.other : own0, j0 = of_db ? own0 : other.other;
    T* const to = back + back_stage * Space::kBack;
    load_segments<256, Tile::kPairs, 1, kStep<T>>(
        to, Space::kRowOfStep, dy, d.cz - z0, [&](int pair, int) -> int64_t {
          const int i = i0 + pair / kPairRows, j = j0 + pair % kPairRows;
          return i < d.r && j < d.r ? (int64_t{batch * d.r + i} * d.r + j) * d.cz + z0 : -1;
        });
    load_weight<256, kStep<T>, kPairChannels>(to + Space::kGradient, Space::kRowOfWeight, weight, d, z0,
                                              of_db ? other.channel : own_channel0,
                                              of_db ? own_channel0 : other.channel);
  };
  const auto issue_side = [&](int k, int column0) {
    const At other = other_of(k);
    const int row0 = other.other + column0 / kPairChannels;
    load_segments<256, Space::kRows, kStep<T> / kPairChannels, kPairChannels>(
        sides + side_stage * Space::kSide, Space::kRowOfStep, side, d.c - other.channel,
        [&](int s, int row) -> int64_t {
          return s0 + s < d.s && row0 + row < d.r
                     ? (int64_t{batch * d.s + s0 + s} * d.r + row0 + row) * d.c + other.channel
                     : -1;
        });
  };

  const int warp_pair = warp / 4 * 32, warp_channel = warp % 4 * 64, warp_s = warp / 2 * 16 * MT,
            warp_own = warp % 2 * 64;
  float sums[MT][8][4];
  clear(sums);
  issue_back(0, 0);
  for (int k = 0; k < each; ++k) {
    float dp[2][8][4];
    clear(dp);
    for (int z0 = 0; z0 == 0 || z0 < d.cz; z0 += kStep<T>) {
      copy_async_wait();
      __syncthreads();
      const T* at = back + back_stage * Space::kBack;
      back_stage ^= 1;
      if (z0 + kStep<T> < d.cz)
        issue_back(k, z0 + kStep<T>);
      else
        issue_side(k, 0);
      multiply<Along::k, Along::rows>(dp, at + warp_pair * Space::kRowOfStep, Space::kRowOfStep,
                                      at + Space::kGradient + warp_channel, Space::kRowOfWeight, kStep<T>);
    }
    {  // as [(i, p), (j, q)]: a lane holds j = g of rows i of the tile
      const At other = other_of(k);
      const int i0 = of_db ? other.other : own0, j0 = of_db ? own0 : other.other;
#pragma unroll
      for (int m = 0; m < 2; ++m)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const int i = warp_pair / kPairRows + 2 * m + h;
          const float f =
              i0 + i < d.r && j0 + g < d.r ? scales.at(int64_t{batch * d.r + i0 + i} * d.r + j0 + g) : 0.0f;
#pragma unroll
          for (int n = 0; n < 8; ++n) {
            const int p = warp_channel / kPairChannels + n / 2, q = n % 2 * 8 + 2 * t;
            put_pair(products + (i * kPairChannels + p) * Space::kRowOfProducts + g * kPairChannels + q,
                     dp[m][n][2 * h] * f, dp[m][n][2 * h + 1] * f);
          }
        }
    }
    for (int column0 = 0; column0 < Tile::kSide; column0 += kStep<T>) {
      copy_async_wait();
      __syncthreads();
      const T* at = sides + side_stage * Space::kSide + warp_s * Space::kRowOfStep;
      side_stage ^= 1;
      if (column0 + kStep<T> < Tile::kSide)
        issue_side(k, column0 + kStep<T>);
      else if (k + 1 < each)
        issue_back(k + 1, 0);
      if (s0 + warp_s >= d.s) continue;
      if (of_db)
        multiply<Along::k, Along::rows>(sums, at, Space::kRowOfStep,
                                        products + column0 * Space::kRowOfProducts + warp_own,
                                        Space::kRowOfProducts, kStep<T>);
      else
        multiply<Along::k, Along::k>(sums, at, Space::kRowOfStep,
                                     products + warp_own * Space::kRowOfProducts + column0,
                                     Space::kRowOfProducts, kStep<T>);
    }
  }
  const Elements to = chosen(of_db, db, da);
  const bool pairs = of_db ? db_pairs : da_pairs;
#pragma unroll
  for (int m = 0; m < MT; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int s = s0 + warp_s + 16 * m + 8 * h + g;
#pragma unroll
      for (int n = 0; n < 8; ++n) {
        const int row = own0 + warp_own / kPairChannels + n / 2, channel = own_channel0 + n % 2 * 8 + 2 * t;
        if (s < d.s && row < d.r && channel < d.c)
          store_pair(to, (int64_t{batch * d.s + s} * d.r + row) * d.c + channel, sums[m][n][2 * h],
                     sums[m][n][2 * h + 1], pairs, channel + 1 < d.c);
      }
    }
}

template <class T>
struct WeightSpace {
  using Tile = OuterTile<T>;
  static constexpr int MT = sizeof(T) == 2 ? 4 : 2, kOutputs = 32 * MT, kRowOfGradient = tile_row<T>(kOutputs);
  static constexpr size_t kBytes = sizeof(T) * (2 * Tile::kStage + Tile::kTile + Tile::kPairs * kRowOfGradient);
};

// dW[z, p, q] = sum over the pairs of f_ij g_ijz sum over s of a_sip b_sjq: a block sums kOutputs outputs z and
// 16 x 16 channels over a piece of the tiles of pairs. Blocks: steps of channels, tiles of z, pieces. Shared
// memory: two stages of a and b, the products [64 pairs, 16 p, 16 q], g [64 pairs, kOutputs].
template <class T>
__global__ void __launch_bounds__(256, 1)
    outer_weight(Source dy, Source a, Source b, PairScales scales, float* partial, OuterDims d, int tiles,
                 int all_tiles, int tiles_per_piece) {
  using Space = WeightSpace<T>;
  using Tile = OuterTile<T>;
  constexpr int MT = Space::MT;
  RECKON_DYNAMIC_SHARED(T, stages);
  T* const pairs = stages + 2 * Tile::kStage;
  T* const gradient = pairs + Tile::kTile;
  const int across = (d.c + kPairChannels - 1) / kPairChannels, p0 = blockIdx.x / across * kPairChannels,
            q0 = blockIdx.x % across * kPairChannels;
  const int z0 = blockIdx.y * Space::kOutputs, warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4,
            t = threadIdx.x % 4;
  const int warp_z = warp / 4 * 16 * MT, warp_channel = warp % 4 * 64;
  const int first = blockIdx.z * tiles_per_piece,
            last = first + tiles_per_piece < all_tiles ? first + tiles_per_piece : all_tiles;
  Tile tile{a, b, d, 0};
  const int steps = tile.steps();

  int stage = 0, i0 = 0, j0 = 0;
  const auto go_to = [&](int k) {
    tile.batch = k / (tiles * tiles);
    i0 = k / tiles % tiles * kPairRows, j0 = k % tiles * kPairRows;
  };
  const auto issue = [&](int step) { tile.issue(stages + stage * Tile::kStage, step, i0, j0, p0, q0); };
  float dw[MT][8][4];
  clear(dw);
  if (first < last) {
    go_to(first);
    issue(0);
  }
  for (int k = first; k < last; ++k) {
    const auto offset = [&](int i, int j) -> int64_t {
      return i0 + i < d.r && j0 + j < d.r ? int64_t{tile.batch * d.r + i0 + i} * d.r + j0 + j : -1;
    };
    float sums[2][8][4];
    clear(sums);
    for (int step = 0; step < steps; ++step) {
      copy_async_wait();
      __syncthreads();
      const T* at = stages + stage * Tile::kStage;
      stage ^= 1;
      if (step + 1 < steps) issue(step + 1);
      if (step == 0)
        load_segments<256, Tile::kPairs, 1, Space::kOutputs>(
            gradient, Space::kRowOfGradient, dy, d.cz - z0, [&](int pair, int) -> int64_t {
              const int64_t at_pair = offset(pair / kPairRows, pair % kPairRows);
              return at_pair >= 0 ? at_pair * d.cz + z0 : -1;
            });
      tile.add(sums, at);
    }
    tile.store(sums, pairs, [&](int i, int j) {
      const int64_t at_pair = offset(i, j);
      return at_pair >= 0 ? scales.at(at_pair) : 0.0f;
    });
    copy_async_wait();
    __syncthreads();
    if (k + 1 < last) {
      go_to(k + 1);
      issue(0);
    }
    if (z0 + warp_z < d.cz)
      multiply<Along::rows, Along::rows>(dw, gradient + warp_z, Space::kRowOfGradient, pairs + warp_channel,
                                         Tile::kRowOfPairs, Tile::kPairs);
  }
  float* const piece = partial + blockIdx.z * (int64_t{d.cz} * d.c * d.c);
#pragma unroll
  for (int m = 0; m < MT; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int z = z0 + warp_z + 16 * m + 8 * h + g;
#pragma unroll
      for (int n = 0; n < 8; ++n) {
        const int p = p0 + warp_channel / kPairChannels + n / 2, q = q0 + n % 2 * 8 + 2 * t;
        if (z < d.cz && p < d.c && q < d.c)
          store_pair({piece, DType::f32}, (int64_t{z} * d.c + p) * d.c + q, dw[m][n][2 * h],
                     dw[m][n][2 * h + 1], d.c % 2 == 0, q + 1 < d.c);
      }
    }
}

// Of each piece of the pairs, the sum of f_ij dy_ijz, or of dy. Blocks: pieces, tiles of 128 outputs.
__global__ void __launch_bounds__(256)
    outer_bias(Elements dy, PairScales scales, float* partial, int64_t all_pairs, int64_t pairs_per_piece,
               int outputs, bool fours) {
  __shared__ float strands[8][128];
  const int lane = threadIdx.x % 32, strand = threadIdx.x / 32, z0 = blockIdx.y * 128, z = z0 + 4 * lane;
  const int64_t first = blockIdx.x * pairs_per_piece,
                last = first + pairs_per_piece < all_pairs ? first + pairs_per_piece : all_pairs;
  float sum[4] = {};
  if (z < outputs) {
#pragma unroll 4
    for (int64_t pair = first + strand; pair < last; pair += 8) {
      const float f = scales.at(pair);
      float v[4] = {};
      if (fours)
        load4(dy, pair * outputs + z, v);
      else {
#pragma unroll
        for (int k = 0; k < 4; ++k)
          if (z + k < outputs) v[k] = load(dy, pair * outputs + z + k);
      }
#pragma unroll
      for (int k = 0; k < 4; ++k) sum[k] += f * v[k];
    }
  }
#pragma unroll
  for (int k = 0; k < 4; ++k) strands[strand][4 * lane + k] = sum[k];
  __syncthreads();
  if (threadIdx.x >= 128 || z0 + static_cast<int>(threadIdx.x) >= outputs) return;
  float total = 0;
#pragma unroll
  for (int k = 0; k < 8; ++k) total += strands[k][threadIdx.x];
  partial[int64_t{blockIdx.x} * outputs + z0 + threadIdx.x] = total;
}

struct Gradients {
  TensorArg da, db, dweight, dbias;
};

template <class T>
int launch_sides(const KernelArgs& a, int launches, const OuterSizes& n, const PairScales& scales,
                 const Gradients& to) {
  using In = OuterProductMeanBackwardInput;
  const TensorArg &dy = a.in[In::dout], &left = a.in[In::a], &right = a.in[In::b], &weight = a.in[In::weight];
  const DType low = weight.dtype;
  const auto pairs = [&](const TensorArg& t) {
    return n.c % 2 == 0 && reinterpret_cast<uintptr_t>(t.data) % 8 == 0;
  };
  const auto run = [&](auto kernel, int64_t rows, size_t bytes) {
    const int64_t own = ceil_div(n.r, kPairRows) * ceil_div(n.c, kPairChannels), s_tiles = ceil_div(n.s, rows);
    const int64_t sides = int64_t{to.da.defined()} + to.db.defined();
    launch(a, launches, kernel, blocks_for(own * s_tiles * n.batch * sides, 1), 256, bytes,
           source_of(dy, low, n.cz), source_of(left, low, n.c), source_of(right, low, n.c),
           source_of(weight, low, n.c), scales, elements(to.da), elements(to.db), dims_of(n), s_tiles,
           pairs(to.da), pairs(to.db));
  };
  if (sizeof(T) == 2 && n.s > SidesSpace<T, 2>::kRows) {
    if constexpr (sizeof(T) == 2) run(outer_sides<T, 4>, SidesSpace<T, 4>::kRows, SidesSpace<T, 4>::kBytes);
  } else {
    run(outer_sides<T, 2>, SidesSpace<T, 2>::kRows, SidesSpace<T, 2>::kBytes);
  }
  return launches + 1;
}

template <class T>
int launch_weight(const KernelArgs& a, int launches, const OuterSizes& n, const PairScales& scales,
                  float* partial) {
  using In = OuterProductMeanBackwardInput;
  const DType low = a.in[In::weight].dtype;
  const OuterPieces pieces = outer_weight_pieces(n, low);
  const int64_t across = ceil_div(n.c, kPairChannels);
  const dim3 grid(blocks_for(across * across, 1), blocks_for(n.cz, WeightSpace<T>::kOutputs),
                  static_cast<unsigned>(pieces.pieces));
  launch(a, launches, outer_weight<T>, grid, 256, WeightSpace<T>::kBytes, source_of(a.in[In::dout], low, n.cz),
         source_of(a.in[In::a], low, n.c), source_of(a.in[In::b], low, n.c), scales, partial, dims_of(n),
         ceil_div(n.r, kPairRows), outer_pair_tiles(n), pieces.per_piece);
  return launches + 1;
}

}  // namespace

// in dy, a, b, weight, mask; out the wanted ones of da, db, dweight, dbias. Launches and
// workspaces as OuterBackwardPlan says.
void outer_product_mean_backward_gpu(KernelArgs& a) {
  const auto& attrs = a.as<OuterProductMeanAttrs>();
  using In = OuterProductMeanBackwardInput;
  const TensorArg &dy = a.in[In::dout], &left = a.in[In::a], &weight = a.in[In::weight], &mask = a.in[In::mask];
  const OuterSizes n{left.shape[0], left.shape[1], left.shape[2], left.shape[3], weight.shape[0]};
  const bool masked = attrs.normalize != OuterNormalize::none && mask.defined();
  const OuterBackwardPlan plan(n, attrs.needs, masked, weight.dtype, a.library_workspace_bytes);
  int launches = 0, outputs = 0, spaces = 0;
  const auto output = [&](bool wanted) { return wanted ? a.out[outputs++] : TensorArg{}; };
  const auto space = [&](int64_t elements) { return elements > 0 ? a.workspace[spaces++] : nullptr; };
  const auto floats = [&](int64_t elements) { return reinterpret_cast<float*>(space(elements)); };
  const Gradients to{output(plan.da), output(plan.db), output(plan.weight), output(plan.bias)};
  float* const factors = floats(plan.scale_floats);
  std::byte* const u = space(plan.projected);
  float *const weight_floats = floats(plan.weight_floats), *const bias_floats = floats(plan.bias_floats),
               *const da_floats = floats(plan.da_floats), *const db_floats = floats(plan.db_floats);
  const PairScales scales =
      plan.scales ? launch_pair_scales(a, launches++, mask, n, factors) : scale_of_all(attrs, n);
  GradientSums sums;
  const int64_t elements_of_side = left.numel();
  if (plan.project) {
    launches = launch_projected_backward(
        a, launches, n, scales,
        {dy, left, a.in[In::b], weight, to.da, to.db, to.dweight, u, da_floats, db_floats, weight_floats});
    const ProjectedChunks chunks(n, weight.dtype, a.library_workspace_bytes);
    if (da_floats) sums.add(to.da, da_floats, projected_da_pieces(n, chunks).pieces, elements_of_side);
    if (db_floats) sums.add(to.db, db_floats, projected_db_pieces(n, chunks).pieces, elements_of_side);
  } else {
    with_type(weight.dtype, [&](auto type) {
      using T = decltype(type);
      if (plan.da || plan.db) launches = launch_sides<T>(a, launches, n, scales, to);
      if (plan.weight) launches = launch_weight<T>(a, launches, n, scales, weight_floats);
    });
    if (plan.weight)
      sums.add(to.dweight, weight_floats, outer_weight_pieces(n, weight.dtype).pieces, n.cz * n.c * n.c);
  }
  if (plan.bias) {
    const OuterPieces pieces = outer_bias_pieces(n);
    const dim3 grid(blocks_for(pieces.pieces, 1), blocks_for(n.cz, 128));
    launch(a, launches++, outer_bias, grid, 256, 0, elements(dy),
           attrs.normalize == OuterNormalize::divide_after ? scales : PairScales{}, bias_floats,
           n.batch * n.r * n.r, pieces.per_piece, n.cz, takes_fours(dy, n.cz));
    sums.add(to.dbias, bias_floats, pieces.pieces, n.cz);
  }
  if (plan.sums()) launch_sum_gradients(a, launches, sums);
}

}  // namespace reckon::ops::gpu
