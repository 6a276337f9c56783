// Pieces of the attention kernels for the tensor cores: tiles of queries, keys and values in shared memory,
// products of a warp's 16 rows with a tile, the bias, exponentials, and rows on their way out.
//
// A group of 32 keys is stored in another order than it has in memory: row 8 u + 2 t + e of the tile holds key
// 8 t + 2 u + e (u, t < 4, e < 2). Then the columns of the logits that one thread holds are eight neighbouring
// keys, and a thread reads its part of the bias, and writes its part of the bias's gradient, in accesses of 16
// bytes. Sums over keys do not care.
#pragma once

#include "ops/attention/attention_problem.cuh"
#include "ops/kernel/gpu/mma.cuh"
#include "ops/kernel/gpu/tiles.cuh"

namespace reckon::ops::gpu {

inline constexpr int kAttentionThreads = 128;  // four warps
inline constexpr float kLog2e = 1.44269504088896341f;

__device__ __forceinline__ int tile_row_of_key(int key) {
  return (key & ~31) | (key & 6) << 2 | (key & 24) >> 2 | (key & 1);
}

// Rows [0, rows) of `from`, zeros behind them and past `width`. Rows start at multiples of 16 bytes.
template <class T, int kRows, int kWidth, bool kKeyOrder = false>
__device__ __forceinline__ void load_tile(T* tile, const T* from, int64_t stride, int rows, int width) {
  constexpr int kRow = kTileRow<kWidth>, kEights = kWidth / 8, kStep = kAttentionThreads / kEights;
  const int thread = recomputed(threadIdx.x), column = thread % kEights * 8;
  int row = thread / kEights;
  const T* own = from + row * stride + column;
#pragma unroll
  for (int i = 0; i < kRows / kStep; ++i, row += kStep, own += kStep * stride)
    copy_async16(tile + (kKeyOrder ? tile_row_of_key(row) : row) * kRow + column, own,
                 row < rows && column < width);
}

// d0 (columns 0-7) and d1 (8-15) += a b, with b as load_matrices leaves it.
template <class T>
__device__ __forceinline__ void mma_pair(float (&d0)[4], float (&d1)[4], const unsigned (&a)[4],
                                         const unsigned (&b)[4]) {
  const unsigned low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
  mma_m16n8k16<T>(d0, a, low);
  mma_m16n8k16<T>(d1, a, high);
}

// The 16 rows of a tile that are a warp's left operand: kept in registers where the
// width allows it, else read again.
template <class T, int kWidth, bool kHeld = (kWidth <= 64)>
struct LeftRows {
  static constexpr int kSteps = kWidth / 16;
  unsigned held[kHeld ? kSteps : 1][4];
  const T* row;

  __device__ __forceinline__ void set(const T* tile, int lane) {
    row = a_row<kTileRow<kWidth>>(tile, lane);
    if constexpr (kHeld) {
#pragma unroll
      for (int s = 0; s < kSteps; ++s) load_matrices(held[s], row + 16 * s);
    }
  }
  __device__ __forceinline__ void step(int s, unsigned (&a)[4]) const {
    if constexpr (kHeld) {
#pragma unroll
      for (int r = 0; r < 4; ++r) a[r] = held[s][r];
    } else {
      load_matrices(a, row + 16 * s);
    }
  }
};

// d[m] = rows[m] times the transpose of 8 kColumns rows of `tile`.
template <class T, int kWidth, int kTiles, int kColumns, bool kHeld>
__device__ __forceinline__ void multiply_rows(float (&d)[kTiles][kColumns][4],
                                              const LeftRows<T, kWidth, kHeld> (&rows)[kTiles], const T* tile,
                                              int lane) {
  constexpr int kRow = kTileRow<kWidth>;
#pragma unroll
  for (int m = 0; m < kTiles; ++m)
#pragma unroll
    for (int c = 0; c < kColumns; ++c) d[m][c][0] = d[m][c][1] = d[m][c][2] = d[m][c][3] = 0.0f;
  const T* const right = b_row<kRow>(tile, lane);
#pragma unroll
  for (int s = 0; s < kWidth / 16; ++s) {
    unsigned a[kTiles][4], b[4];
#pragma unroll
    for (int m = 0; m < kTiles; ++m) rows[m].step(s, a[m]);
#pragma unroll
    for (int c = 0; c < kColumns; c += 2) {
      load_matrices(b, right + c * 8 * kRow + 16 * s);
#pragma unroll
      for (int m = 0; m < kTiles; ++m) mma_pair<T>(d[m][c], d[m][c + 1], a[m], b);
    }
  }
}

// sums[m] += weights[m] (16 x 8 kColumns, as multiply_rows leaves them, rounded to T)
// times 8 kColumns rows of `tile`.
template <class T, int kRow, int kTiles, int kColumns, int kSums>
__device__ __forceinline__ void add_weighted_rows(float (&sums)[kTiles][kSums][4],
                                                  const float (&weights)[kTiles][kColumns][4], const T* tile,
                                                  int lane) {
  const T* const right = b_row_transposed<kRow>(tile, lane);
#pragma unroll
  for (int c = 0; c < kColumns; c += 2) {
    unsigned a[kTiles][4], b[4];
#pragma unroll
    for (int m = 0; m < kTiles; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        a[m][2 * half] = pack_pair<T>(weights[m][c + half][0], weights[m][c + half][1]);
        a[m][2 * half + 1] = pack_pair<T>(weights[m][c + half][2], weights[m][c + half][3]);
      }
#pragma unroll
    for (int w = 0; w < kSums; w += 2) {
      load_matrices_transposed(b, right + c * 8 * kRow + w * 8);
#pragma unroll
      for (int m = 0; m < kTiles; ++m) mma_pair<T>(sums[m][w], sums[m][w + 1], a[m], b);
    }
  }
}

// logits = scale logits + the key terms of a group of 32 keys, in the order of memory.
__device__ __forceinline__ void scale_and_mask(float (*logits)[4], float scale, const float* terms, int t) {
  const float4 low = *reinterpret_cast<const float4*>(terms + 8 * t),
               high = *reinterpret_cast<const float4*>(terms + 8 * t + 4);
  const float own[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
  for (int u = 0; u < 4; ++u)
#pragma unroll
    for (int r = 0; r < 4; ++r) logits[u][r] = fmaf(logits[u][r], scale, own[2 * u + r % 2]);
}

// Logits of keys that come after what their query sees become minus infinity. `query`: that of
// register 0; `key`: the group's first.
__device__ __forceinline__ void hide_later_keys(float (*logits)[4], int query, int lead, int key, int t) {
#pragma unroll
  for (int u = 0; u < 4; ++u)
#pragma unroll
    for (int r = 0; r < 4; ++r)
      if (key + 8 * t + 2 * u + r % 2 > query + r / 2 * 8 + lead) logits[u][r] = -INFINITY;
}

// The two numbers of a 16-bit type in one register.
template <DType kType>
__device__ __forceinline__ float2 pair_values(unsigned pair) {
  if constexpr (kType == DType::bf16)
    return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u));
  return make_float2(__half2float(__ushort_as_half(static_cast<unsigned short>(pair))),
                     __half2float(__ushort_as_half(static_cast<unsigned short>(pair >> 16))));
}

// A head's bias. 16-bit types are fetched as they are, before they are needed; f32 is read when it is added.
struct BiasRows {
  const void* data = nullptr;
  DType dtype = DType::f32;
  bool by_eight = false;
  int64_t stride = 0;
  int rows = 0, keys = 0;

  __device__ BiasRows(const AttentionProblem& p, int b, int n, int h)
      : dtype(p.bias.dtype), by_eight(p.bias.by_eight), stride(p.bias.row), rows(p.Lq), keys(p.Lk) {
    if (p.bias)
      data = static_cast<const char*>(p.bias.data) + p.bias.at(b, n, h) * (dtype == DType::f32 ? 4 : 2);
  }
  __device__ explicit operator bool() const { return data != nullptr; }
  __device__ bool fetches() const { return data && dtype != DType::f32; }

  // The bits of keys [key, key + 8), zeros past the last one and for rows past the last one.
  __device__ __forceinline__ uint4 fetch(int row, int key) const {
    uint4 bits = make_uint4(0, 0, 0, 0);
    if (row >= rows || key >= keys) return bits;
    const unsigned short* from = static_cast<const unsigned short*>(data) + row * stride + key;
    if (by_eight) return *reinterpret_cast<const uint4*>(from);
    unsigned pairs[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      pairs[i] = key + 2 * i < keys ? from[2 * i] : 0u;
      if (key + 2 * i + 1 < keys) pairs[i] |= static_cast<unsigned>(from[2 * i + 1]) << 16;
    }
    return make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
  }
  // The eight values of keys [key, key + 8), of which `bits` are those of a 16-bit type.
  template <DType kType>
  __device__ __forceinline__ void values(const uint4& bits, int row, int key, float (&v)[8]) const {
    if constexpr (kType == DType::f32) {
      const float* from = static_cast<const float*>(data) + row * stride + key;
      if (by_eight && row < rows && key < keys) {
        const float4 low = reinterpret_cast<const float4*>(from)[0],
                     high = reinterpret_cast<const float4*>(from)[1];
        v[0] = low.x, v[1] = low.y, v[2] = low.z, v[3] = low.w, v[4] = high.x, v[5] = high.y, v[6] = high.z,
        v[7] = high.w;
      } else {
#pragma unroll
        for (int i = 0; i < 8; ++i) v[i] = row < rows && key + i < keys ? from[i] : 0.0f;
      }
    } else {
      const unsigned pairs[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float2 x = pair_values<kType>(pairs[i]);
        v[2 * i] = x.x, v[2 * i + 1] = x.y;
      }
    }
  }
};

// body(std::integral_constant) with the bias's type, so that the choice is made once per tile.
template <class F>
__device__ __forceinline__ void with_bias_type(DType t, F&& body) {
  if (t == DType::bf16)
    body(std::integral_constant<DType, DType::bf16>{});
  else if (t == DType::f16)
    body(std::integral_constant<DType, DType::f16>{});
  else
    body(std::integral_constant<DType, DType::f32>{});
}
template <class F>
__device__ __forceinline__ void with_flag(bool flag, F&& body) {
  if (flag)
    body(std::true_type{});
  else
    body(std::false_type{});
}

// Adds the bias of a group of 32 keys to rows g and g + 8.
template <DType kType>
__device__ __forceinline__ void add_bias(float (*logits)[4], const BiasRows& bias, const uint4 (&bits)[2],
                                         int row, int key) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float v[8];
    bias.values<kType>(bits[half], row + 8 * half, key, v);
#pragma unroll
    for (int i = 0; i < 8; ++i) logits[i / 2][2 * half + i % 2] += v[i];
  }
}

// Eight neighbours of the bias's gradient, of which those before `keys` exist; at + key is
// a multiple of 8 where by_eight.
__device__ __forceinline__ void store_bias_gradient(const Elements& to, bool by_eight, int64_t at, int key,
                                                    int keys, const float (&v)[8]) {
  if (by_eight) {
    if (key >= keys) return;
    const float low[4] = {v[0], v[1], v[2], v[3]}, high[4] = {v[4], v[5], v[6], v[7]};
    store4(to, at + key, low);
    store4(to, at + key + 4, high);
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i)
      if (key + i < keys) store(to, at + key + i, v[i]);
  }
}

// exp(x - top) in one multiply-add where |top| is small. A row without any key has logits and a top of the
// size of the mask's value, whose product with log2(e) would be rounded by more than the differences:
// there the difference comes first.
inline constexpr float kNear = 256.0f;
template <bool kIsNear>
__device__ __forceinline__ float exp_difference(float x, float top) {
  if constexpr (kIsNear) return exp2_approximate(fmaf(x, kLog2e, -(top * kLog2e)));
  return exp2_approximate((x - top) * kLog2e);
}

// A probability from the row statistics (kAttentionStatistics). The maximum is the first to be subtracted
// unless it is so small that its sum with the logarithm loses nothing.
template <bool kIsNear>
__device__ __forceinline__ float probability(float x, float top, float log_sum) {
  if constexpr (kIsNear) return exp_difference<true>(x, top + log_sum);
  return exp_difference<false>(x - top, log_sum);
}

// Rows of a warp's 16 x 8 kSums sums, times a factor each for rows g and g + 8, by way of `own` (16 rows of
// kRow elements that only this warp uses) so that they leave in whole lines.
template <class T, int kRow, int kSums>
__device__ __forceinline__ void store_rows(T* own, const float (&sums)[kSums][4], float factor0, float factor1,
                                           T* to, int64_t stride, int rows, int width, int lane) {
  constexpr int kEights = kSums;
  T* const cell = own + lane / 4 * kRow + lane % 4 * 2;
  __syncwarp();
#pragma unroll
  for (int c = 0; c < kSums; ++c) {
    *reinterpret_cast<unsigned*>(cell + 8 * c) = pack_pair<T>(sums[c][0] * factor0, sums[c][1] * factor0);
    *reinterpret_cast<unsigned*>(cell + 8 * kRow + 8 * c) =
        pack_pair<T>(sums[c][2] * factor1, sums[c][3] * factor1);
  }
  __syncwarp();
#pragma unroll
  for (int i = lane; i < 16 * kEights; i += 32) {
    const int row = i / kEights, column = i % kEights * 8;
    if (row < rows && column < width)
      *reinterpret_cast<uint4*>(to + row * stride + column) =
          *reinterpret_cast<const uint4*>(own + row * kRow + column);
  }
}

}  // namespace reckon::ops::gpu
