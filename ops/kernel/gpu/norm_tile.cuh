// Norms inside fused kernels, for rows of up to kTileColumns columns: normalised rows made into a
// tile of shared memory, and the way back from the gradient of a tile, which lies in a warp's
// registers as tile_product.cuh leaves it.
#pragma once

#include "ops/kernel/gpu/tile_product.cuh"
#include "ops/kernel/plan/norm_kind.h"
#include "ops/kernel/plan/tile_pieces.h"

namespace reckon::ops::gpu {

// n = (x - mean) rstd weight + bias, mean 0 for rms. Without a weight the rows pass as they are.
struct NormInput {
  Elements x, weight, bias;  // x [rows, c]
  float *mean, *rstd;        // [rows]; rms has no mean
  int64_t rows;
  int c;
  float eps;
  bool layer, vectors;  // vectors: x, weight and bias may be read 16 bytes at a time

  __device__ __forceinline__ float mean_of(int64_t row) const { return layer ? mean[row] : 0.0f; }
};

inline NormInput norm_input(const TensorArg& x, const TensorArg& weight, const TensorArg& bias, NormKind kind,
                            double eps, float* mean, float* rstd) {
  const auto aligned = [](const TensorArg& t) {
    return !t.defined() || reinterpret_cast<uintptr_t>(t.data) % 16 == 0;
  };
  return {elements(x),
          elements(weight),
          elements(bias),
          mean,
          rstd,
          x.rows(),
          static_cast<int>(x.last()),
          static_cast<float>(eps),
          kind == NormKind::layer,
          x.last() % 8 == 0 && aligned(x) && aligned(weight) && aligned(bias)};
}

// Eight neighbours as they lie in memory, 16-bit types in the first vector: loads that are under way together
// must not be parted by conversions.
__device__ __forceinline__ void load_bits8(const Elements& e, int64_t i, uint4 (&bits)[2]) {
  if (e.dtype == DType::f32) {
    const uint4* from = reinterpret_cast<const uint4*>(static_cast<const float*>(e.data) + i);
    bits[0] = from[0], bits[1] = from[1];
  } else {
    bits[0] = *reinterpret_cast<const uint4*>(static_cast<const unsigned short*>(e.data) + i);
  }
}

__device__ __forceinline__ void to_floats8(DType type, const uint4 (&bits)[2], float (&v)[8]) {
  const unsigned words[8] = {bits[0].x, bits[0].y, bits[0].z, bits[0].w,
                             bits[1].x, bits[1].y, bits[1].z, bits[1].w};
#pragma unroll
  for (int k = 0; k < 8; ++k) {
    if (type == DType::f32) {
      v[k] = __uint_as_float(words[k]);
    } else if (type == DType::bf16) {
      v[k] = __uint_as_float(k % 2 ? words[k / 2] & 0xffff0000u : words[k / 2] << 16);
    } else {
      const unsigned short half = static_cast<unsigned short>(words[k / 2] >> (k % 2 * 16));
      __half h;
      memcpy(static_cast<void*>(&h), &half, 2);
      v[k] = __half2float(h);
    }
  }
}

// Eight neighbours from column `column` of a row of c, zeros beyond.
__device__ __forceinline__ void load8(const Elements& e, int64_t base, int column, int c, bool vectors,
                                      float (&v)[8]) {
  if (vectors) {
    uint4 bits[2] = {};
    if (column < c) load_bits8(e, base + column, bits);
    to_floats8(e.dtype, bits, v);
  } else {
#pragma unroll
    for (int k = 0; k < 8; ++k) v[k] = column + k < c ? load(e, base + column + k) : 0.0f;
  }
}

// Eight values into a tile whose rows start at multiples of 16 bytes.
template <class T>
__device__ __forceinline__ void store8(T* to, const float (&v)[8]) {
  if constexpr (sizeof(T) == 2) {
    *reinterpret_cast<uint4*>(to) = make_uint4(pack_pair<T>(v[0], v[1]), pack_pair<T>(v[2], v[3]),
                                               pack_pair<T>(v[4], v[5]), pack_pair<T>(v[6], v[7]));
  } else {
    reinterpret_cast<float4*>(to)[0] = make_float4(v[0], v[1], v[2], v[3]);
    reinterpret_cast<float4*>(to)[1] = make_float4(v[4], v[5], v[6], v[7]);
  }
}

// Rows [row0, row0 + kTileRows) of the norm into `tile`, whose rows are `row_of_tile` apart; zeros past the
// rows and past the columns. Eight lanes share a row. With kFind the statistics are found, and `keeps`
// writes them, else they are read.
template <bool kFind, int kThreads, class T>
__device__ __forceinline__ void norm_tile(const NormInput& n, int64_t row0, T* tile, int row_of_tile,
                                          bool keeps) {
  constexpr int kPieces = kTileColumns / 64;
  const int part = threadIdx.x % 8, columns = whole_steps(n.c);
  const float share = 1.0f / static_cast<float>(n.c);
  for (int r = threadIdx.x / 8; r < kTileRows; r += kThreads / 8) {
    const int64_t row = row0 + r;
    const bool inside = row < n.rows;
    float v[kPieces][8];
    if (n.vectors) {
      uint4 bits[kPieces][2] = {};
#pragma unroll
      for (int p = 0; p < kPieces; ++p)
        if (inside && 64 * p + 8 * part < n.c) load_bits8(n.x, row * n.c + 64 * p + 8 * part, bits[p]);
#pragma unroll
      for (int p = 0; p < kPieces; ++p) to_floats8(n.x.dtype, bits[p], v[p]);
    } else {
#pragma unroll
      for (int p = 0; p < kPieces; ++p) load8(n.x, row * n.c, 64 * p + 8 * part, inside ? n.c : 0, false, v[p]);
    }
    if (n.weight) {
      float mean = 0, rstd = 0;
      if constexpr (kFind) {
        const auto over_row = [](float sum) {
#pragma unroll
          for (int d = 4; d > 0; d /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, d);
          return sum;
        };
        float sum = 0, squares = 0;
        if (n.layer) {
#pragma unroll
          for (int p = 0; p < kPieces; ++p)
#pragma unroll
            for (int k = 0; k < 8; ++k) sum += v[p][k];
          mean = over_row(sum) * share;
        }
#pragma unroll
        for (int p = 0; p < kPieces; ++p)
#pragma unroll
          for (int k = 0; k < 8; ++k)
            if (64 * p + 8 * part + k < n.c) squares += (v[p][k] - mean) * (v[p][k] - mean);
        rstd = 1.0f / sqrtf(over_row(squares) * share + n.eps);
        if (keeps && inside && part == 0) {
          if (n.layer) n.mean[row] = mean;
          n.rstd[row] = rstd;
        }
      } else if (inside) {
        mean = n.mean_of(row);
        rstd = n.rstd[row];
      }
#pragma unroll
      for (int p = 0; p < kPieces; ++p) {
        if (64 * p >= n.c) break;
        float w[8];
        load8(n.weight, 0, 64 * p + 8 * part, n.c, n.vectors, w);
#pragma unroll
        for (int k = 0; k < 8; ++k) v[p][k] = (v[p][k] - mean) * rstd * w[k];
        if (n.bias) {
          load8(n.bias, 0, 64 * p + 8 * part, n.c, n.vectors, w);
#pragma unroll
          for (int k = 0; k < 8; ++k) v[p][k] += w[k];
        }
      }
    }
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
      if (64 * p + 8 * part >= columns) continue;
      if (!inside || 64 * p + 8 * part >= n.c) {
#pragma unroll
        for (int k = 0; k < 8; ++k) v[p][k] = 0;
      }
      store8(tile + r * row_of_tile + 64 * p + 8 * part, v[p]);
    }
  }
}

// kDepth rows of kWeightTile columns of a norm whose statistics are known, made into a tile in two steps:
// `issue` loads, `store` normalises, and between them the block may compute.
template <class T, int kThreads, int kDepth>
class NormColumns {
 public:
  __device__ __forceinline__ NormColumns(const NormInput& n, int column0)
      : column_(column0 + threadIdx.x % kGroups * 8) {
    if (n.weight) load8(n.weight, 0, column_, n.c, n.vectors, weight_);
    if (n.bias) load8(n.bias, 0, column_, n.c, n.vectors, bias_);
  }

  // Rows [row0, row0 + kDepth) below `end`.
  __device__ __forceinline__ void issue(const NormInput& n, int64_t row0, int64_t end) {
    row_ = row0 + threadIdx.x / kGroups;
    end_ = end;
#pragma unroll
    for (int p = 0; p < kPasses; ++p) {
      const int64_t row = row_ + p * kRowsPerPass;
      bits_[p][0] = bits_[p][1] = make_uint4(0, 0, 0, 0);
      mean_[p] = rstd_[p] = 0;
      if (row >= end) continue;
      if (n.vectors && column_ < n.c) load_bits8(n.x, row * n.c + column_, bits_[p]);
      if (n.weight) mean_[p] = n.mean_of(row), rstd_[p] = n.rstd[row];
    }
  }

  __device__ __forceinline__ void store(const NormInput& n, T* tile, int row_of_tile) const {
#pragma unroll
    for (int p = 0; p < kPasses; ++p) {
      const int64_t row = row_ + p * kRowsPerPass;
      float v[8];
      if (n.vectors)
        to_floats8(n.x.dtype, bits_[p], v);
      else
        load8(n.x, row * n.c, column_, row < end_ ? n.c : 0, false, v);
      if (n.weight) {
#pragma unroll
        for (int k = 0; k < 8; ++k)
          v[k] = row < end_ ? (v[k] - mean_[p]) * rstd_[p] * weight_[k] + (n.bias ? bias_[k] : 0.0f) : 0.0f;
      }
      store8(tile + (threadIdx.x / kGroups + p * kRowsPerPass) * row_of_tile + threadIdx.x % kGroups * 8, v);
    }
  }

 private:
  static constexpr int kGroups = kWeightTile / 8, kRowsPerPass = kThreads / kGroups,
                       kPasses = kDepth / kRowsPerPass;
  int column_;
  int64_t row_ = 0, end_ = 0;
  float weight_[8], bias_[8];  // zeros past the columns, and so is what they scale
  uint4 bits_[kPasses][2];
  float mean_[kPasses], rstd_[kPasses];
};

// What a block needs in shared memory to go back through the norm of a tile, for warps that hold 16 MT rows and
// 8 NT columns. With xh = (x - mean) rstd and u = dn weight: dx = rstd (u - mean(u) - xh mean(u xh)), without
// the middle term for rms; dweight = sum of dn xh, dbias = sum of dn over the rows.
template <int MT, int NT>
struct NormGradient {
  static constexpr int kWidth = 8 * NT, kRow = kWidth + 8, kWarps = kTileRows / (16 * MT),
                       kThreads = 32 * kWarps;
  // Floats of xh; may overlie what the tile's product no longer needs.
  static constexpr int kNormalised = kTileRows * kRow;
  static constexpr int kKept = kWidth + 2 * kWidth + kWarps * 2 * kWidth;  // floats that stay from tile to tile

  float *normalised, *weight, *totals, *cells;

  __device__ __forceinline__ NormGradient(const NormInput& n, float* over, float* kept)
      : normalised(over), weight(kept), totals(kept + kWidth), cells(kept + 3 * kWidth) {
    for (int j = threadIdx.x; j < kWidth; j += kThreads) {
      weight[j] = n.weight && j < n.c ? load(n.weight, j) : 0.0f;
      totals[j] = totals[kWidth + j] = 0;
    }
  }

  // Ends a tile: dn, the gradient of the norm's output in rows [row0, row0 + kTileRows), becomes that of x,
  // and the parameters' gradients are added to the totals. dn must be 0 outside the rows and columns.
  // Begins and ends with a barrier.
  __device__ __forceinline__ void finish(float (&dn)[MT][NT][4], const NormInput& n, int64_t row0) const {
    __syncthreads();
    if (!n.weight) return;
    normalise_again(n, row0);
    __syncthreads();
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const float* const xh = normalised + (16 * MT * warp + g) * kRow + 2 * t;
    float* const own = cells + warp * 2 * kWidth;
    float sum[MT][2] = {}, dot[MT][2] = {};
#pragma unroll
    for (int i = 0; i < NT; ++i) {
      if (8 * i >= n.c) break;
      const float2 w = *reinterpret_cast<const float2*>(weight + 8 * i + 2 * t);
      float columns[4] = {};  // of dweight, then of dbias
#pragma unroll
      for (int m = 0; m < MT; ++m)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const float2 x = *reinterpret_cast<const float2*>(xh + (16 * m + 8 * h) * kRow + 8 * i);
          const float low = dn[m][i][2 * h], high = dn[m][i][2 * h + 1];
          sum[m][h] += low * w.x + high * w.y;
          dot[m][h] += low * w.x * x.x + high * w.y * x.y;
          columns[0] += low * x.x, columns[1] += high * x.y;
          columns[2] += low, columns[3] += high;
        }
#pragma unroll
      for (int e = 0; e < 4; ++e) {
#pragma unroll
        for (int d = 4; d < 32; d *= 2) columns[e] += __shfl_xor_sync(0xffffffffu, columns[e], d);
        if (g == 0) own[e / 2 * kWidth + 8 * i + 2 * t + e % 2] = columns[e];
      }
    }
    const float share = 1.0f / static_cast<float>(n.c);
    float rstd[MT][2];
#pragma unroll
    for (int m = 0; m < MT; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
#pragma unroll
        for (int d = 1; d < 4; d *= 2) {
          sum[m][h] += __shfl_xor_sync(0xffffffffu, sum[m][h], d);
          dot[m][h] += __shfl_xor_sync(0xffffffffu, dot[m][h], d);
        }
        sum[m][h] = n.layer ? sum[m][h] * share : 0.0f;
        dot[m][h] *= share;
        const int64_t row = row0 + 16 * (MT * warp + m) + 8 * h + g;
        rstd[m][h] = row < n.rows ? n.rstd[row] : 0.0f;
      }
#pragma unroll
    for (int i = 0; i < NT; ++i) {
      if (8 * i >= n.c) break;
      const float2 w = *reinterpret_cast<const float2*>(weight + 8 * i + 2 * t);
#pragma unroll
      for (int m = 0; m < MT; ++m)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const float2 x = *reinterpret_cast<const float2*>(xh + (16 * m + 8 * h) * kRow + 8 * i);
          dn[m][i][2 * h] = rstd[m][h] * (dn[m][i][2 * h] * w.x - sum[m][h] - x.x * dot[m][h]);
          dn[m][i][2 * h + 1] = rstd[m][h] * (dn[m][i][2 * h + 1] * w.y - sum[m][h] - x.y * dot[m][h]);
        }
    }
    __syncthreads();
    add_to_totals(n.c);
  }

  // The totals of a block's tiles, [2, c]: dweight, dbias.
  __device__ __forceinline__ void store_totals(int c, float* to) const {
    for (int j = threadIdx.x; j < 2 * kWidth; j += kThreads)
      if (j % kWidth < c) to[j / kWidth * c + j % kWidth] = totals[j];
  }

 private:
  // xh of rows [row0, row0 + kTileRows), zeros outside.
  __device__ __forceinline__ void normalise_again(const NormInput& n, int64_t row0) const {
    for (int i = threadIdx.x; i < kTileRows * (kWidth / 8); i += kThreads) {
      const int r = i / (kWidth / 8), column = i % (kWidth / 8) * 8;
      if (column >= n.c) continue;
      const int64_t row = row0 + r;
      const bool inside = row < n.rows;
      float v[8];
      load8(n.x, row * n.c, column, inside ? n.c : 0, n.vectors, v);
      const float mean = inside ? n.mean_of(row) : 0.0f, rstd = inside ? n.rstd[row] : 0.0f;
#pragma unroll
      for (int k = 0; k < 8; ++k) v[k] = column + k < n.c ? (v[k] - mean) * rstd : 0.0f;
      store8(normalised + r * kRow + column, v);
    }
  }

  // What each warp left in its cells, in the order of the warps.
  __device__ __forceinline__ void add_to_totals(int c) const {
    for (int j = threadIdx.x; j < 2 * kWidth; j += kThreads) {
      if (j % kWidth >= c) continue;
#pragma unroll
      for (int w = 0; w < kWarps; ++w) totals[j] += cells[w * 2 * kWidth + j];
    }
  }
};

// The warp's sums, [16 MT, c], into rows from row0 on of `to` [rows, c], in its own type.
template <int MT, int NT>
__device__ __forceinline__ void store_rows(const float (&sums)[MT][NT][4], const Elements& to, int64_t row0,
                                           int64_t rows, int c, bool vectors) {
  const int left = rows - row0 < 16 * MT ? static_cast<int>(rows - row0) : 16 * MT;
  if (to.dtype == DType::f32)
    store_sums(sums, static_cast<float*>(to.data) + row0 * c, c, left, c, vectors);
  else if (to.dtype == DType::bf16)
    store_sums(sums, static_cast<__nv_bfloat16*>(to.data) + row0 * c, c, left, c, vectors);
  else
    store_sums(sums, static_cast<__half*>(to.data) + row0 * c, c, left, c, vectors);
}

}  // namespace reckon::ops::gpu
