// Matrix products of tiles in shared memory, for f32, bf16 and f16: a warp adds the product of a [16 MT, k] and
// b [k, 8 NT] to sums in its registers. 16-bit types go to the tensor cores, f32 to multiply-adds of the same
// shape, so that a kernel is written once: in both, lane 4g + t holds of the 16 x 8 sums [m][n]
//   [0], [1]: row 16m + g, columns 8n + 2t, 8n + 2t + 1        [2], [3]: the same columns of row 16m + g + 8.
#pragma once

#include "ops/kernel/gpu/elements.cuh"
#include "ops/kernel/gpu/mma.cuh"
#include "ops/kernel/gpu/tiles.cuh"

namespace reckon::ops::gpu {

// Elements of 16 bytes.
template <class T>
inline constexpr int kVector = 16 / static_cast<int>(sizeof(T));

// Columns of a step through a long k: 128 bytes a row.
template <class T>
inline constexpr int kChunk = 8 * kVector<T>;

// k of a product of `columns`: whole steps of the tensor cores. The tile holds zeros in what is added.
RECKON_INLINE constexpr int whole_steps(int columns) { return (columns + 15) / 16 * 16; }

// Elements from one row of a tile to the next, for rows of `columns` (whole
// steps): an odd multiple of 16 bytes.
template <class T>
RECKON_INLINE constexpr int tile_row(int columns) {
  return columns + kVector<T>;
}

// How an operand lies in its tile: as rows (columns of b) that run along k, or as rows of one k each.
enum class Along { k, rows };

template <Along kA, Along kB, bool kLimited, class T, int MT, int NT>
__device__ __forceinline__ void multiply_on_tensor_cores(float (&sums)[MT][NT][4], const T* a, int row_of_a,
                                                         const T* b, int row_of_b, int k, int columns) {
  static_assert(NT % 2 == 0);
  const int lane = threadIdx.x % 32;
  const int outer = lane / 16 * 8 + lane % 8, inner = lane / 8 % 2 * 8;
  const T* at = kA == Along::k ? a + lane % 16 * row_of_a + lane / 16 * 8 : a + outer * row_of_a + inner;
  const T* bt = kB == Along::k ? b + outer * row_of_b + inner : b + lane % 16 * row_of_b + lane / 16 * 8;
  [[maybe_unused]] constexpr int kUnrolled = MT * NT >= 32 ? 1 : 2;
#pragma unroll kUnrolled
  for (int k0 = 0; k0 < k; k0 += 16) {
    unsigned x[MT][4];
#pragma unroll
    for (int m = 0; m < MT; ++m) {
      if constexpr (kA == Along::k)
        load_matrices(x[m], at + 16 * m * row_of_a);
      else
        load_matrices_transposed(x[m], at + 16 * m);
    }
#pragma unroll
    for (int n = 0; n < NT; n += 2) {
      if (kLimited && 8 * n >= columns) break;
      unsigned y[4];
      if constexpr (kB == Along::k)
        load_matrices(y, bt + 8 * n * row_of_b);
      else
        load_matrices_transposed(y, bt + 8 * n);
      const unsigned low[2] = {y[0], y[1]}, high[2] = {y[2], y[3]};
#pragma unroll
      for (int m = 0; m < MT; ++m) {
        mma_m16n8k16<T>(sums[m][n], x[m], low);
        mma_m16n8k16<T>(sums[m][n + 1], x[m], high);
      }
    }
    at += kA == Along::k ? 16 : 16 * row_of_a;
    bt += kB == Along::k ? 16 : 16 * row_of_b;
  }
}

template <Along kA, Along kB, bool kLimited, int MT, int NT>
__device__ __forceinline__ void multiply_in_f32(float (&sums)[MT][NT][4], const float* a, int row_of_a,
                                                const float* b, int row_of_b, int k, int columns) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll 1
  for (int k0 = 0; k0 < k; k0 += 4) {
    float x[MT][2][4];
#pragma unroll
    for (int m = 0; m < MT; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int row = 16 * m + 8 * h + g;
        if constexpr (kA == Along::k) {
          const float4 v = *reinterpret_cast<const float4*>(a + row * row_of_a + k0);
          x[m][h][0] = v.x, x[m][h][1] = v.y, x[m][h][2] = v.z, x[m][h][3] = v.w;
        } else {
#pragma unroll
          for (int i = 0; i < 4; ++i) x[m][h][i] = a[(k0 + i) * row_of_a + row];
        }
      }
#pragma unroll
    for (int n = 0; n < NT; ++n) {
      if (kLimited && 8 * n >= columns) break;
      const int column = 8 * n + 2 * t;
      float y[2][4];
      if constexpr (kB == Along::k) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const float4 v = *reinterpret_cast<const float4*>(b + (column + e) * row_of_b + k0);
          y[e][0] = v.x, y[e][1] = v.y, y[e][2] = v.z, y[e][3] = v.w;
        }
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float2 v = *reinterpret_cast<const float2*>(b + (k0 + i) * row_of_b + column);
          y[0][i] = v.x, y[1][i] = v.y;
        }
      }
#pragma unroll
      for (int m = 0; m < MT; ++m)
#pragma unroll
        for (int h = 0; h < 2; ++h)
#pragma unroll
          for (int e = 0; e < 2; ++e)
#pragma unroll
            for (int i = 0; i < 4; ++i) sums[m][n][2 * h + e] += x[m][h][i] * y[e][i];
    }
  }
}

// sums += a b over `k` (a multiple of 16). `a` and `b` are where the warp's first row and first column lie, for
// the first k. With kLimited, only the columns below `columns` need to be right.
template <Along kA, Along kB, bool kLimited = false, class T, int MT, int NT>
__device__ __forceinline__ void multiply(float (&sums)[MT][NT][4], const T* a, int row_of_a, const T* b,
                                         int row_of_b, int k, int columns = 8 * NT) {
  if constexpr (sizeof(T) == 2)
    multiply_on_tensor_cores<kA, kB, kLimited>(sums, a, row_of_a, b, row_of_b, k, columns);
  else
    multiply_in_f32<kA, kB, kLimited>(sums, a, row_of_a, b, row_of_b, k, columns);
}

// sums += the sum of a's columns, a product with ones: sums[m][0] and [2] for the
// rows g and g + 8, in every lane.
template <Along kA, class T, int MT>
__device__ __forceinline__ void add_along_k(float (&sums)[MT][4], const T* a, int row_of_a, int k) {
  const int lane = threadIdx.x % 32;
  if constexpr (sizeof(T) == 2) {
    const unsigned one = pack_pair<T>(1.0f, 1.0f), ones[2] = {one, one};
    const T* at = kA == Along::k ? a + lane % 16 * row_of_a + lane / 16 * 8
                                 : a + (lane / 16 * 8 + lane % 8) * row_of_a + lane / 8 % 2 * 8;
    for (int k0 = 0; k0 < k; k0 += 16) {
#pragma unroll
      for (int m = 0; m < MT; ++m) {
        unsigned x[4];
        if constexpr (kA == Along::k)
          load_matrices(x, at + 16 * m * row_of_a);
        else
          load_matrices_transposed(x, at + 16 * m);
        mma_m16n8k16<T>(sums[m], x, ones);
      }
      at += kA == Along::k ? 16 : 16 * row_of_a;
    }
  } else {
    for (int k0 = 0; k0 < k; ++k0)
#pragma unroll
      for (int m = 0; m < MT; ++m)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const int row = 16 * m + 8 * h + lane / 4;
          sums[m][2 * h] += kA == Along::k ? a[row * row_of_a + k0] : a[k0 * row_of_a + row];
        }
  }
}

// sums += (values rounded to T) b, where `values` [16 MT, 8 KT] are themselves sums of this warp. 16-bit types
// stay in registers: the layouts of a result and of the operand a agree. f32 goes through `own`, [16 MT,
// tile_row(8 KT)] of shared memory that belongs to this warp.
template <Along kB, class T, int MT, int KT, int NT>
__device__ __forceinline__ void multiply_values(float (&sums)[MT][NT][4], const float (&values)[MT][KT][4],
                                                const T* b, int row_of_b, T* own) {
  const int lane = threadIdx.x % 32;
  static_assert(KT % 2 == 0);
  if constexpr (sizeof(T) == 2) {
    const T* bt = kB == Along::k ? b + (lane / 16 * 8 + lane % 8) * row_of_b + lane / 8 % 2 * 8
                                 : b + lane % 16 * row_of_b + lane / 16 * 8;
#pragma unroll
    for (int s = 0; s < KT; s += 2) {
      unsigned x[MT][4];
#pragma unroll
      for (int m = 0; m < MT; ++m)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          x[m][i] = pack_pair<T>(values[m][s + i / 2][i % 2 * 2], values[m][s + i / 2][i % 2 * 2 + 1]);
#pragma unroll
      for (int n = 0; n < NT; n += 2) {
        unsigned y[4];
        if constexpr (kB == Along::k)
          load_matrices(y, bt + 8 * n * row_of_b + 8 * s);
        else
          load_matrices_transposed(y, bt + 8 * s * row_of_b + 8 * n);
        const unsigned low[2] = {y[0], y[1]}, high[2] = {y[2], y[3]};
#pragma unroll
        for (int m = 0; m < MT; ++m) {
          mma_m16n8k16<T>(sums[m][n], x[m], low);
          mma_m16n8k16<T>(sums[m][n + 1], x[m], high);
        }
      }
    }
  } else {
    constexpr int kRow = tile_row<T>(8 * KT);
#pragma unroll
    for (int m = 0; m < MT; ++m)
#pragma unroll
      for (int s = 0; s < KT; ++s)
#pragma unroll
        for (int h = 0; h < 2; ++h)
          *reinterpret_cast<float2*>(own + (16 * m + 8 * h + lane / 4) * kRow + 8 * s + lane % 4 * 2) =
              make_float2(values[m][s][2 * h], values[m][s][2 * h + 1]);
    __syncwarp();
    multiply<Along::k, kB>(sums, own, kRow, b, row_of_b, 8 * KT);
    __syncwarp();
  }
}

template <int MT, int NT>
__device__ __forceinline__ void clear(float (&sums)[MT][NT][4]) {
#pragma unroll
  for (int m = 0; m < MT; ++m)
#pragma unroll
    for (int n = 0; n < NT; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[m][n][i] = 0;
}

// Adds bias[0 .. columns) to every row of sums [n0, n0 + kCount).
template <int n0, int kCount, class T, int MT, int NT>
__device__ __forceinline__ void add_bias(float (&sums)[MT][NT][4], const T* bias, int columns) {
#pragma unroll
  for (int n = 0; n < kCount; ++n)
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int column = 8 * n + threadIdx.x % 4 * 2 + e;
      const float b = column < columns ? to_float(bias[column]) : 0.0f;
#pragma unroll
      for (int m = 0; m < MT; ++m) sums[m][n0 + n][e] += b, sums[m][n0 + n][2 + e] += b;
    }
}
template <class T, int MT, int NT>
__device__ __forceinline__ void add_bias(float (&sums)[MT][NT][4], const T* bias, int columns) {
  add_bias<0, NT>(sums, bias, columns);
}

template <class T>
__device__ __forceinline__ float rounded(float v) {
  if constexpr (sizeof(T) == 2)
    return to_float(from_float<T>(v));
  else
    return v;
}

// Sums [n0, n0 + kCount) of every m into a matrix whose row r, column 0 of them lies at to + r ld; only
// `rows` and `columns` of it exist. With `vectors` (whole groups of four columns, aligned to them)
// neighbouring lanes trade their halves of two 16 x 8 tiles, so that a row is written in pieces of 32 bytes.
// All lanes of the warp take part.
template <int n0, int kCount, class T, int MT, int NT>
__device__ __forceinline__ void store_sums(const float (&sums)[MT][NT][4], T* to, int64_t ld, int rows,
                                           int columns, bool vectors) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
  for (int m = 0; m < MT; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int row = 16 * m + 8 * h + g;
      T* const out = to + row * ld;
      if constexpr (sizeof(T) == 2 && kCount % 2 == 0) {
        if (vectors) {
#pragma unroll
          for (int n = 0; n < kCount; n += 2) {
            const unsigned even = pack_pair<T>(sums[m][n0 + n][2 * h], sums[m][n0 + n][2 * h + 1]);
            const unsigned odd = pack_pair<T>(sums[m][n0 + n + 1][2 * h], sums[m][n0 + n + 1][2 * h + 1]);
            const unsigned got = __shfl_xor_sync(0xffffffffu, t % 2 ? even : odd, 1);
            const int column = 8 * (n + t % 2) + t / 2 * 4;
            if (row < rows && column < columns)
              *reinterpret_cast<uint2*>(out + column) = t % 2 ? make_uint2(got, odd) : make_uint2(even, got);
          }
          continue;
        }
      }
#pragma unroll
      for (int n = 0; n < kCount; ++n) {
        const int column = 8 * n + 2 * t;
        const float low = sums[m][n0 + n][2 * h], high = sums[m][n0 + n][2 * h + 1];
        if (row >= rows || column >= columns) continue;
        if (sizeof(T) == 4 && vectors) {
          *reinterpret_cast<float2*>(out + column) = make_float2(low, high);
        } else {
          out[column] = from_float<T>(low);
          if (column + 1 < columns) out[column + 1] = from_float<T>(high);
        }
      }
    }
}

template <class T, int MT, int NT>
__device__ __forceinline__ void store_sums(const float (&sums)[MT][NT][4], T* to, int64_t ld, int rows,
                                           int columns, bool vectors) {
  store_sums<0, NT>(sums, to, ld, rows, columns, vectors);
}

// Two neighbouring elements of a known type, in two steps: as they lie in memory, and as f32.
template <class T>
struct PairBits {
  using Type = unsigned;
};
template <>
struct PairBits<float> {
  using Type = float2;
};
template <class T>
__device__ __forceinline__ typename PairBits<T>::Type load_pair_bits(const T* from, bool pairs, bool second) {
  using Bits = typename PairBits<T>::Type;
  if (pairs) return *reinterpret_cast<const Bits*>(from);
  const T both[2] = {from[0], second ? from[1] : from_float<T>(0.0f)};
  Bits bits;
  memcpy(&bits, both, sizeof(bits));
  return bits;
}
template <class T>
__device__ __forceinline__ float2 pair_of(const typename PairBits<T>::Type& bits) {
  if constexpr (sizeof(T) == 4) {
    return bits;
  } else {
    T both[2];
    memcpy(static_cast<void*>(both), &bits, 4);
    return make_float2(to_float(both[0]), to_float(both[1]));
  }
}

// A tile of tile_rows by tile_columns (whole steps) from a matrix in memory of which `rows` and `columns`
// exist; zeros beyond. With `vectors` (16-byte addresses, whole vectors of columns) the copies are
// asynchronous: the caller waits.
template <int kThreads, class T>
__device__ __forceinline__ void copy_tile(T* to, int row_of_tile, int tile_rows, int tile_columns,
                                          const T* from, int64_t ld, int rows, int columns, bool vectors) {
  const int per_row = tile_columns / kVector<T>;
  int row = threadIdx.x / per_row, v = threadIdx.x % per_row;
  while (row < tile_rows) {
    const int column = v * kVector<T>;
    T* const at = to + row * row_of_tile + column;
    const T* const source = from + row * ld + column;
    if (vectors) {
      const bool inside = row < rows && column < columns;
      copy_async16(at, inside ? source : from, inside);
    } else {
#pragma unroll
      for (int i = 0; i < kVector<T>; ++i)
        at[i] = row < rows && column + i < columns ? source[i] : from_float<T>(0.0f);
    }
    row += kThreads / per_row;
    v += kThreads % per_row;
    if (v >= per_row) v -= per_row, ++row;
  }
}

// Whether copy_tile may move vectors of a matrix with rows of `columns` elements,
// and store_sums groups of four.
inline bool takes_vectors(const void* data, size_t element_bytes, int64_t columns) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && columns * static_cast<int64_t>(element_bytes) % 16 == 0;
}
inline bool takes_vectors(const TensorArg& t) { return takes_vectors(t.data, size_of(t.dtype), t.last()); }

}  // namespace reckon::ops::gpu
