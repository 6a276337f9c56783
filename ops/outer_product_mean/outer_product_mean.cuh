// What the files of the outer product mean's GPU kernels share: how operands reach shared memory, the factors
// of the pairs, and the outer products of a tile of pairs.
#pragma once

#include <type_traits>

#include "ops/kernel/gpu/launch.cuh"
#include "ops/kernel/gpu/tile_product.cuh"
#include "ops/outer_product_mean/outer_product_mean_gpu.h"

namespace reckon::ops::gpu {

struct OuterDims {
  int s, r, c, cz;
};
inline OuterDims dims_of(const OuterSizes& n) {
  return {static_cast<int>(n.s), static_cast<int>(n.r), static_cast<int>(n.c), static_cast<int>(n.cz)};
}

// An operand of a kernel over T, and whether 16-byte copies of it may be made: of T itself,
// aligned rows of whole vectors.
struct Source {
  Elements from;
  bool vectors = false;
};
inline Source source_of(const TensorArg& t, DType low, int64_t row) {
  return {elements(t), t.dtype == low && takes_vectors(t.data, size_of(low), row)};
}

// One of two by value: a reference to either would put both into local memory.
__device__ __forceinline__ Elements chosen(bool first, const Elements& x, const Elements& y) {
  return {first ? x.data : y.data, first ? x.dtype : y.dtype};
}

// 1 / (eps + count) or 1 / max(count, 1) of each pair [B, R, R]; one value where `of` is null.
struct PairScales {
  const float* of = nullptr;
  float constant = 1;

  __device__ __forceinline__ float at(int64_t pair) const { return of ? of[pair] : constant; }
};

// One launch, where there is a mask to count; else the value that all pairs share.
PairScales launch_pair_scales(const KernelArgs& a, int index, const TensorArg& mask, const OuterSizes& n,
                              float* to);
PairScales scale_of_all(const OuterProductMeanAttrs& attrs, const OuterSizes& n);

// The forward pass that projects first, after `launches` others. U: the workspace of its chunks.
void launch_projected_forward(KernelArgs& a, int launches, const OuterSizes& n, const PairScales& scales,
                              std::byte* u);
void outer_product_mean_backward_gpu(KernelArgs& a);

// The gradients of a, b and the weight that project first; returns the launch that follows. Outputs that are
// not wanted are undefined; where pieces are to be added up they lie in `da_pieces` and `db_pieces`.
struct ProjectedGradients {
  TensorArg dy, a, b, weight, da, db, dweight;
  std::byte* u;
  float *da_pieces, *db_pieces, *weight_sum;
};
int launch_projected_backward(KernelArgs& a, int launches, const OuterSizes& n, const PairScales& scales,
                              const ProjectedGradients& g);

// Depth of a step through a sum.
template <class T>
inline constexpr int kStep = sizeof(T) == 2 ? 32 : 16;

struct Unscaled {};

// A tile of kRows rows, each of kSegments segments of kWidth columns; at(row, segment) is where a segment
// starts in `source`, negative where it does not exist. Zeros beyond `columns` of a segment. `scale(row)`
// multiplies (then nothing is asynchronous).
template <int kThreads, int kRows, int kSegments, int kWidth, class T, class At, class Scale = Unscaled>
__device__ __forceinline__ void load_segments(T* to, int row_of_tile, const Source& source, int columns, At at,
                                              Scale scale = {}) {
  constexpr int kPerSegment = kWidth / kVector<T>, kPerRow = kSegments * kPerSegment, kTotal = kRows * kPerRow;
  constexpr bool kScaled = !std::is_same_v<Scale, Unscaled>;
  static_assert(kWidth % kVector<T> == 0);
#pragma unroll 1
  for (int i = threadIdx.x; i < kTotal; i += kThreads) {
    const int row = i / kPerRow, segment = i / kPerSegment % kSegments, column = i % kPerSegment * kVector<T>;
    const int64_t offset = at(row, segment);
    T* const tile = to + row * row_of_tile + segment * kWidth + column;
    if (!kScaled && source.vectors) {
      const bool inside = offset >= 0 && column < columns;
      copy_async16(tile, static_cast<const T*>(source.from.data) + (inside ? offset + column : 0), inside);
      continue;
    }
    float factor = 1;
    if constexpr (kScaled) factor = offset >= 0 ? scale(row) : 0.0f;
#pragma unroll
    for (int k = 0; k < kVector<T>; ++k)
      tile[k] = from_float<T>(
          offset >= 0 && column + k < columns ? load(source.from, offset + column + k) * factor : 0.0f);
  }
}

// Two neighbours into a tile.
template <class T>
__device__ __forceinline__ void put_pair(T* at, float low, float high) {
  if constexpr (sizeof(T) == 2)
    *reinterpret_cast<unsigned*>(at) = pack_pair<T>(low, high);
  else
    *reinterpret_cast<float2*>(at) = make_float2(low, high);
}

// 8 x 8 pairs (i, j) and 16 x 16 channels (p, q): the sums over s of a_si,p b_sj,q as a product of 128 columns
// (i, p) with 128 columns (j, q), by 8 warps of 32 x 64.
template <class T>
struct OuterTile {
  static constexpr int kThreads = 256, kSide = kPairRows * kPairChannels, kPairs = kPairRows * kPairRows,
                       kChannels = kPairChannels * kPairChannels;
  // kStage: steps of a and of b.
  static constexpr int kRow = tile_row<T>(kSide), kOperand = kStep<T> * kRow, kStage = 2 * kOperand;
  // kTile: products as [pair][p, q].
  static constexpr int kRowOfPairs = tile_row<T>(kChannels), kTile = kPairs * kRowOfPairs;

  Source a, b;
  OuterDims d;
  int batch;

  __device__ __forceinline__ int steps() const { return (d.s + kStep<T> - 1) / kStep<T>; }

  __device__ __forceinline__ void issue(T* to, int step, int i0, int j0, int p0, int q0) const {
    side(to, a, step * kStep<T>, i0, p0);
    side(to + kOperand, b, step * kStep<T>, j0, q0);
  }
  __device__ __forceinline__ void add(float (&sums)[2][8][4], const T* stage) const {
    const int warp = threadIdx.x / 32;
    multiply<Along::rows, Along::rows>(sums, stage + 32 * (warp / 2), kRow, stage + kOperand + 64 * (warp % 2),
                                       kRow, kStep<T>);
  }
  // scale(i, j) multiplies; i and j count from the tile's first.
  template <class Scale>
  __device__ __forceinline__ void store(const float (&sums)[2][8][4], T* pairs, Scale scale) const {
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
      for (int n = 0; n < 8; ++n) {
        const int i = 2 * (warp / 2) + m, j = 4 * (warp % 2) + n / 2;
        const float f = scale(i, j);
#pragma unroll
        for (int h = 0; h < 2; ++h)
          put_pair(pairs + (i * kPairRows + j) * kRowOfPairs + (8 * h + g) * kPairChannels + n % 2 * 8 + 2 * t,
                   sums[m][n][2 * h] * f, sums[m][n][2 * h + 1] * f);
      }
  }

 private:
  __device__ __forceinline__ void side(T* to, const Source& from, int s0, int row0, int channel0) const {
    load_segments<kThreads, kStep<T>, kPairRows, kPairChannels>(
        to, kRow, from, d.c - channel0, [&](int s, int row) -> int64_t {
          if (s0 + s >= d.s || row0 + row >= d.r) return -1;
          return (int64_t{batch * d.s + s0 + s} * d.r + row0 + row) * d.c + channel0;
        });
  }
};

// z0 .. of the weight [cz, c, c] as rows z of `kSegments` channels p from p0 with the 16 channels from q0.
template <int kThreads, int kRows, int kSegments, class T>
__device__ __forceinline__ void load_weight(T* to, int row_of_tile, const Source& weight, const OuterDims& d,
                                            int z0, int p0, int q0) {
  load_segments<kThreads, kRows, kSegments, kPairChannels>(
      to, row_of_tile, weight, d.c - q0, [&](int z, int p) -> int64_t {
        return z0 + z < d.cz && p0 + p < d.c ? (int64_t{z0 + z} * d.c + p0 + p) * d.c + q0 : -1;
      });
}

// Two neighbours of a result; `second`: whether there is another one. `pairs`: even addresses, whole pairs.
__device__ __forceinline__ void store_pair(const Elements& to, int64_t at, float low, float high, bool pairs,
                                           bool second) {
  if (pairs && to.dtype == DType::f32) {
    *reinterpret_cast<float2*>(static_cast<float*>(to.data) + at) = make_float2(low, high);
    return;
  }
  if (pairs) {
    static_cast<unsigned*>(to.data)[at / 2] =
        to.dtype == DType::bf16 ? pack_pair<__nv_bfloat16>(low, high) : pack_pair<__half>(low, high);
    return;
  }
  gpu::store(to, at, low);
  if (second) gpu::store(to, at + 1, high);
}

}  // namespace reckon::ops::gpu
