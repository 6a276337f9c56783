// Tiles of rows in registers, for kernels that reduce along rows: kLanes neighbouring threads share a row, and
// each holds 4 kGroups values of each of kRows rows. A tile is loaded in two steps, `issue` and `values`,
// because what hides the memory's latency is the number of loads under way: every load of every operand is
// issued before the first result is looked at, although types are only known at run time. Rows that lie aligned
// move in fours, the others one by one, into the same registers.
#pragma once

#include "ops/kernel/gpu/fours.cuh"
#include "ops/kernel/gpu/reduce.cuh"

namespace reckon::ops::gpu {

// Threads of a block that works on register tiles, and the widest row they take; wider
// ones are read in several tiles.
inline constexpr int kRowThreads = 128;
inline constexpr int kRegisterColumns = 2048;

// Over the kLanes threads that share a row: neighbouring lanes of a warp (a power of two), or the whole block,
// which then meets here and needs `cells`, shared memory of 32 floats. All of them get the result.
template <int kLanes>
__device__ __forceinline__ float lanes_sum(float v, float* cells) {
  if constexpr (kLanes > 32) {
    return block_sum(v, cells);
  } else {
#pragma unroll
    for (int d = kLanes / 2; d > 0; d /= 2) v += __shfl_xor_sync(0xffffffffu, v, d);
    return v;
  }
}

template <int kLanes>
__device__ __forceinline__ float lanes_max(float v, float* cells) {
  if constexpr (kLanes > 32) {
    return block_max(v, cells);
  } else {
#pragma unroll
    for (int d = kLanes / 2; d > 0; d /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, d));
    return v;
  }
}

template <int kLanesPerRow, int kGroupsPerLane, int kRowsPerLane>
struct RowTile {
  static constexpr int kLanes = kLanesPerRow, kGroups = kGroupsPerLane, kRows = kRowsPerLane;
  static constexpr int kWidth = kLanes * kGroups * 4;  // columns it can hold
  using Values = float[kRows][kGroups][4];
  using Raw = RawFour[kRows][kGroups];  // as loaded; one by one they take a word each, whatever their type

  static constexpr int kRowsPerBlock = kRowThreads / kLanes * kRows;

  int64_t row;    // this thread's first
  int64_t start;  // column of the rows at which the tile begins
  int64_t c;      // columns of a row
  int step;       // from one of this thread's rows to its next
  int rows;       // of kRows, those that exist
  int held;       // of a row's 4 kGroups places, those that exist: the first ones
  int lane;
  bool fours;

  // The rows [first, first + kRowsPerBlock) below `end`, dealt out so that neighbouring
  // threads hold neighbouring rows.
  __device__ __forceinline__ static RowTile of_block(int64_t first, int64_t end, int64_t c, bool fours) {
    constexpr int step = kRowThreads / kLanes;
    const int64_t row = first + threadIdx.x / kLanes;
    const int lane = threadIdx.x % kLanes;
    int rows = 0;
#pragma unroll
    for (int r = 0; r < kRows; ++r) rows += row + r * step < end;
    return {row, 0, c, step, rows, places(static_cast<int>(c), lane, fours), lane, fours};
  }
  // Columns [start, start + kWidth) of one row, by a whole block of kLanes threads.
  __device__ __forceinline__ static RowTile of_row(int64_t row, int64_t c, int64_t start, bool fours) {
    const int columns = static_cast<int>(c - start < kWidth ? c - start : kWidth),
              lane = static_cast<int>(threadIdx.x);
    return {row, start, c, 0, 1, places(columns, lane, fours), lane, fours};
  }
  // The same rows from column `from` on.
  __device__ __forceinline__ RowTile from_column(int64_t from) const {
    const int columns = static_cast<int>(c - from < kWidth ? c - from : kWidth);
    return {row, from, c, step, rows, places(columns, lane, fours), lane, fours};
  }
  // The one row of a parameter, in the columns that this tile's threads hold.
  __device__ __forceinline__ RowTile<kLanes, kGroups, 1> parameter() const {
    return {0, start, c, 0, 1, held, lane, fours};
  }

  // In fours a lane holds neighbours, else every kLanes-th column; either way its columns rise with its places.
  __device__ __forceinline__ int column(int k, int i) const {
    return (fours ? 4 * lane : lane) + k * 4 * kLanes + (fours ? i : i * kLanes);
  }
  __device__ __forceinline__ static int places(int columns, int lane, bool fours) {
    return fours ? (columns / 4 - lane + kLanes - 1) / kLanes * 4 : (columns - lane + kLanes - 1) / kLanes;
  }
  __device__ __forceinline__ bool holds(int k, int i) const { return 4 * k + i < held; }
  __device__ __forceinline__ bool holds(int r, int k, int i) const { return r < rows && holds(k, i); }
  __device__ __forceinline__ int64_t at(int r, int k, int i) const {
    return (row + r * step) * c + start + column(k, i);
  }

  __device__ __forceinline__ void issue(const Elements& e, Raw& raw) const {
    if (e.dtype == DType::f32)
      issue_as(static_cast<const unsigned*>(e.data), static_cast<const float*>(e.data), raw);
    else
      issue_as(static_cast<const unsigned short*>(e.data), static_cast<const unsigned short*>(e.data), raw);
  }

  // What was loaded, as f32; `otherwise` where the tile holds nothing.
  __device__ __forceinline__ void values(const Raw& raw, DType t, float otherwise, Values& v) const {
    if (fours || t == DType::f32) {
      each_four([&](int r, int k) { four_values(raw[r][k], t, v[r][k]); });
    } else {
      each([&](int r, int k, int i) {
        const unsigned word = raw[r][k].words[i];
        v[r][k][i] = t == DType::bf16 ? bf16_bits_to_float(word) : half_bits_to_float(word);
      });
    }
    if (otherwise == 0) return;  // as all bits 0 are in every type
    each([&](int r, int k, int i) {
      if (!holds(r, k, i)) v[r][k][i] = otherwise;
    });
  }

  __device__ __forceinline__ void load(const Elements& e, float otherwise, Values& v) const {
    Raw raw;
    issue(e, raw);
    values(raw, e.dtype, otherwise, v);
  }

  __device__ __forceinline__ void store(const Elements& e, const Values& v) const {
    if (e.dtype == DType::f32)
      store_as(static_cast<float*>(e.data), v);
    else if (e.dtype == DType::bf16)
      store_as(static_cast<__nv_bfloat16*>(e.data), v);
    else
      store_as(static_cast<__half*>(e.data), v);
  }

  // f(row, group), f(row, group, place in the group), and the latter over one row.
  template <class F>
  __device__ __forceinline__ static void each_four(F&& f) {
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int k = 0; k < kGroups; ++k) f(r, k);
  }
  template <class F>
  __device__ __forceinline__ static void each(F&& f) {
    each_four([&](int r, int k) {
#pragma unroll
      for (int i = 0; i < 4; ++i) f(r, k, i);
    });
  }
  template <class F>
  __device__ __forceinline__ static void each_in_row(F&& f) {
#pragma unroll
    for (int k = 0; k < kGroups; ++k)
#pragma unroll
      for (int i = 0; i < 4; ++i) f(k, i);
  }

 private:
  template <class Word, class T>
  __device__ __forceinline__ void issue_as(const Word* words, const T* data, Raw& raw) const {
    if (fours) {
      each_four([&](int r, int k) { raw[r][k] = holds(r, k, 0) ? issue_four(data, at(r, k, 0)) : RawFour{}; });
    } else {
      each([&](int r, int k, int i) { raw[r][k].words[i] = holds(r, k, i) ? words[at(r, k, i)] : 0; });
    }
  }
  template <class T>
  __device__ __forceinline__ void store_as(T* data, const Values& v) const {
    if (fours) {
      each_four([&](int r, int k) {
        if (holds(r, k, 0)) store_four(data + at(r, k, 0), v[r][k]);
      });
    } else {
      each([&](int r, int k, int i) {
        if (holds(r, k, i)) data[at(r, k, i)] = from_float<T>(v[r][k][i]);
      });
    }
  }
};

// body(RowTile{}) with the tile for rows of c <= kRegisterColumns columns. Narrow rows share a warp, and a
// thread holds several of them, so that every lane has about 64 bytes under way.
template <class F>
void with_row_tile(int64_t c, F&& body) {
  if (c <= 32)
    body(RowTile<8, 1, 4>{});
  else if (c <= 64)
    body(RowTile<16, 1, 4>{});
  else if (c <= 128)
    body(RowTile<32, 1, 4>{});
  else if (c <= 256)
    body(RowTile<32, 2, 2>{});
  else if (c <= 512)
    body(RowTile<32, 4, 1>{});
  else if (c <= 1024)
    body(RowTile<kRowThreads, 2, 2>{});
  else
    body(RowTile<kRowThreads, 4, 1>{});
}

}  // namespace reckon::ops::gpu
