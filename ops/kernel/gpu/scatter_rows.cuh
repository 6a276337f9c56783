// Rows summed by index: out[o, v, :] = start[o, v, :] + the sum of src[o, k, :] over the positions k
// with ids[k] = v, in an order that depends on nothing but the indices. No atomics: each row of `out`
// is written once, by one block.
//
//   1 order_positions  a block sorts the indices of a piece of 2048 positions, stably, in shared memory:
//                      positions of one index become a run. Where a run covers a whole window of 64, the
//                      window's rows are summed ahead, so that an index that fills the batch (padding, a small
//                      table) is no chain of single rows.
//   2 link_runs        one block goes through the pieces from the last to the first and chains the runs of each
//                      index: heads[v] is its first run, runs[slot] holds the next one and the run's length.
//   3 sum_rows         a warp per row adds the windows and single positions of its runs. Rows with many terms
//                      are shared by the block's warps, whose sums meet in shared memory in a fixed order.
//
// Sums are f32. Indices outside [0, extent), which a GPU cannot report, belong to no row.
#pragma once

#include "ops/kernel/gpu/bits.cuh"
#include "ops/kernel/gpu/launch.cuh"
#include "ops/kernel/gpu/walk.cuh"
#include "ops/kernel/plan/scatter_rows.h"

namespace reckon::ops::gpu {

inline constexpr int kOrderThreads = 1024, kSumThreads = 256, kSumWarps = kSumThreads / 32;
inline constexpr int kFewTerms = 16;  // up to which a row is one warp's
static_assert(kListPiece == 2 * kOrderThreads && kListPiece == kListWindow * (kOrderThreads / 32));

struct Scatter {
  Elements src, start, out;  // [outer, n, inner], [outer, extent, inner] or none, the same
  const int64_t* ids;
  int64_t n, extent, columns;  // columns: outer * inner
  Split by_inner;              // of a column
  int* heads;                  // [extent], -1: none
  int* order;                  // [n] positions, piece by piece by index and position
  int2* runs;  // [n] at a run's first slot: slot of the next run (after step 1: its index), length; else 0
  float* window_sums;  // [n / 64, columns]
};

// A lane's N neighbouring columns, as they lie in memory.
template <int N>
__device__ __forceinline__ uint4 load_columns(const Elements& e, int64_t i) {
  if constexpr (N == 4) return load_bits4(e, i);
  const uint2 one = load_bits1(e, i);
  return make_uint4(one.x, one.y, 0, 0);
}
template <int N>
__device__ __forceinline__ void add_columns(DType t, const uint4& bits, float (&sum)[N]) {
  if constexpr (N == 4) {
    float v[4];
    to_floats(t, bits, v);
#pragma unroll
    for (int k = 0; k < 4; ++k) sum[k] += v[k];
  } else {
    sum[0] += to_float(t, make_uint2(bits.x, bits.y));
  }
}

// sum += the rows at(0), at(first + step), .. below `count` of e, where at gives the offset of a lane's
// columns. Four loads are on their way at a time.
template <int N, class F>
__device__ __forceinline__ void add_rows(const Elements& e, int first, int count, int step, float (&sum)[N],
                                         F&& at) {
  constexpr int kAhead = 4;
  for (int j = first; j < count; j += kAhead * step) {
    uint4 bits[kAhead];
#pragma unroll
    for (int u = 0; u < kAhead; ++u)
      if (j + u * step < count) bits[u] = load_columns<N>(e, at(j + u * step));
#pragma unroll
    for (int u = 0; u < kAhead; ++u)
      if (j + u * step < count) add_columns<N>(e.dtype, bits[u], sum);
  }
}

template <int N>
__global__ void __launch_bounds__(kOrderThreads) order_positions(const __grid_constant__ Scatter t) {
  __shared__ uint64_t keys[kListPiece];  // index in the upper half, position in the lower: all differ
  constexpr uint64_t kNone = ~uint64_t{0};
  const int64_t first = int64_t{blockIdx.x} * kListPiece;
  const int count = t.n - first < kListPiece ? static_cast<int>(t.n - first) : static_cast<int>(kListPiece);
  int size = 2;
  while (size < count) size *= 2;
  for (int s = threadIdx.x; s < size; s += kOrderThreads) {
    uint64_t key = kNone;
    if (s < count) {
      const int64_t id = t.ids[first + s];
      if (id >= 0 && id < t.extent) key = static_cast<uint64_t>(id) << 32 | static_cast<uint64_t>(first + s);
    }
    keys[s] = key;
  }
  for (int sorted = 2; sorted <= size; sorted *= 2)  // a bitonic network
    for (int apart = sorted / 2; apart > 0; apart /= 2) {
      __syncthreads();
      if (threadIdx.x < size / 2) {
        const int low = (threadIdx.x & ~(apart - 1)) * 2 + (threadIdx.x & (apart - 1));
        const uint64_t a = keys[low], b = keys[low + apart];
        if ((a > b) == ((low & sorted) == 0)) keys[low] = b, keys[low + apart] = a;
      }
    }
  __syncthreads();

  if (blockIdx.y == 0) {
    for (int64_t v = int64_t{blockIdx.x} * kOrderThreads + threadIdx.x; v < t.extent;
         v += int64_t{gridDim.x} * kOrderThreads)
      t.heads[v] = -1;
    for (int s = threadIdx.x; s < count; s += kOrderThreads) {
      const uint64_t key = keys[s];
      const unsigned id = static_cast<unsigned>(key >> 32);
      int2 run = make_int2(0, 0);
      if (key != kNone && (s == 0 || static_cast<unsigned>(keys[s - 1] >> 32) != id)) {
        int low = s + 1, high = count;  // the first slot of another index
        while (low < high) {
          const int middle = (low + high) / 2;
          if (static_cast<unsigned>(keys[middle] >> 32) == id)
            low = middle + 1;
          else
            high = middle;
        }
        run = make_int2(static_cast<int>(id), low - s);
      }
      t.order[first + s] = static_cast<int>(static_cast<unsigned>(key));
      t.runs[first + s] = run;
    }
  }

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, window = warp * static_cast<int>(kListWindow);
  if (window + kListWindow > count) return;
  const uint64_t last = keys[window + kListWindow - 1];
  if (last == kNone || keys[window] >> 32 != last >> 32) return;
  for (int64_t c = (int64_t{blockIdx.y} * 32 + lane) * N; c < t.columns; c += int64_t{gridDim.y} * 32 * N) {
    int64_t j;
    const int64_t outer = t.by_inner(c, &j), at = outer * t.n * t.by_inner.by + j;
    float sum[N] = {};
    add_rows<N>(t.src, 0, static_cast<int>(kListWindow), 1, sum, [&](int k) {
      return at + static_cast<int64_t>(static_cast<unsigned>(keys[window + k])) * t.by_inner.by;
    });
    float* to = t.window_sums + (first / kListWindow + warp) * t.columns + c;
#pragma unroll
    for (int k = 0; k < N; ++k) to[k] = sum[k];
  }
}

// Not inline: a kernel of each file that includes this.
namespace {

// A run of the next piece is read while this one's heads are on their way; a piece has each index
// once, so its threads do not meet.
__global__ void __launch_bounds__(kOrderThreads) link_runs(int* heads, int2* runs, int64_t n) {
  const int64_t last = n > 0 ? (n - 1) / kListPiece * kListPiece : 0;
  const auto run_at = [&](int64_t slot) { return slot >= 0 && slot < n ? runs[slot] : make_int2(0, 0); };
  int2 a = run_at(last + threadIdx.x), b = run_at(last + threadIdx.x + kOrderThreads);
  for (int64_t piece = last; piece >= 0; piece -= kListPiece) {
    const int64_t slot = piece + threadIdx.x;
    const int2 next_a = run_at(slot - kListPiece), next_b = run_at(slot - kListPiece + kOrderThreads);
    if (a.y > 0) {
      runs[slot].x = heads[a.x];
      heads[a.x] = static_cast<int>(slot);
    }
    if (b.y > 0) {
      runs[slot + kOrderThreads].x = heads[b.x];
      heads[b.x] = static_cast<int>(slot) + kOrderThreads;
    }
    a = next_a, b = next_b;
    __syncthreads();
  }
}

}  // namespace

// A run's terms: single positions up to the first window's border, whole windows, single positions.
struct Terms {
  int lead, windows, singles;
};
__device__ __forceinline__ Terms terms_of(int slot, int length) {
  constexpr int kWindow = static_cast<int>(kListWindow);
  const int to_border = (kWindow - slot % kWindow) % kWindow, lead = length < to_border ? length : to_border;
  const int windows = (length - lead) / kWindow;
  return {lead, windows, length - kWindow * windows};
}

// The share of one of `strands` (a power of two) in the sum of columns c of the row whose first run is `slot`.
template <int N>
__device__ __forceinline__ void add_terms(const Scatter& t, int slot, int64_t c, int strand, int strands,
                                          float (&sum)[N]) {
  int64_t j;
  const int64_t outer = t.by_inner(c, &j), at = outer * t.n * t.by_inner.by + j;
  const Elements windows{t.window_sums, DType::f32};
  int before = 0;  // terms of the runs so far, so that strands get equal shares of many short runs
  while (slot >= 0) {
    const int2 run = t.runs[slot];
    const Terms terms = terms_of(slot, run.y);
    add_rows<N>(t.src, (strand - before) & (strands - 1), terms.singles, strands, sum, [&](int k) {
      const int position =
          t.order[slot + k + (k < terms.lead ? 0 : terms.windows * static_cast<int>(kListWindow))];
      return at + position * t.by_inner.by;
    });
    before += terms.singles;
    const int64_t first = (slot + terms.lead) / kListWindow;
    add_rows<N>(windows, (strand - before) & (strands - 1), terms.windows, strands, sum,
                [&](int k) { return (first + k) * t.columns + c; });
    before += terms.windows;
    slot = run.x;
  }
}

template <int N>
__device__ __forceinline__ void store_row(const Scatter& t, int64_t row, int64_t c, float (&sum)[N]) {
  int64_t j;
  const int64_t outer = t.by_inner(c, &j), at = (outer * t.extent + row) * t.by_inner.by + j;
  if (t.start) add_columns<N>(t.start.dtype, load_columns<N>(t.start, at), sum);
  if constexpr (N == 4)
    store4(t.out, at, sum);
  else
    store(t.out, at, sum[0]);
}

template <int N>
__global__ void __launch_bounds__(kSumThreads) sum_rows(const __grid_constant__ Scatter t, int rows_per_block) {
  __shared__ float cells[kSumWarps][32 * N];
  __shared__ int heavy[kSumWarps];  // first run of a row that all warps share, or -1
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t first_row = int64_t{blockIdx.x} * rows_per_block, row = first_row + warp;
  const int64_t first_column = int64_t{blockIdx.y} * 32 * N, step = int64_t{gridDim.y} * 32 * N;
  if (lane == 0) heavy[warp] = -1;
  __syncwarp();
  if (warp < rows_per_block && row < t.extent) {
    const int head = t.heads[row];
    int terms = 0;
    for (int slot = head; slot >= 0 && terms <= kFewTerms;) {
      const int2 run = t.runs[slot];
      const Terms of_run = terms_of(slot, run.y);
      terms += of_run.singles + of_run.windows;
      slot = run.x;
    }
    if (terms > kFewTerms) {
      if (lane == 0) heavy[warp] = head;
    } else {
      for (int64_t c = first_column + lane * N; c < t.columns; c += step) {
        float sum[N] = {};
        add_terms<N>(t, head, c, 0, 1, sum);
        store_row<N>(t, row, c, sum);
      }
    }
  }
  __syncthreads();
  for (int r = 0; r < rows_per_block; ++r) {
    const int head = heavy[r];
    if (head < 0) continue;
    for (int64_t column = first_column; column < t.columns; column += step) {
      const int64_t c = column + lane * N;
      float sum[N] = {};
      if (c < t.columns) add_terms<N>(t, head, c, warp, kSumWarps, sum);
#pragma unroll
      for (int k = 0; k < N; ++k) cells[warp][lane * N + k] = sum[k];
      __syncthreads();
      if (warp == 0 && c < t.columns) {
        for (int w = 1; w < kSumWarps; ++w)
#pragma unroll
          for (int k = 0; k < N; ++k) sum[k] += cells[w][lane * N + k];
        store_row<N>(t, first_row + r, c, sum);
      }
      __syncthreads();
    }
  }
}

namespace {

// Launches 0, 1 and 2 of the plan; workspaces 0 to 3 as scatter_workspaces() says. `start` may be undefined.
void scatter_rows(const KernelArgs& a, const TensorArg& src, const TensorArg& ids, const TensorArg& start,
                  const TensorArg& out, int64_t outer, int64_t extent, int64_t inner) {
  const int64_t n = ids.numel(), columns = outer * inner;
  const Scatter t{elements(src),
                  elements(start),
                  elements(out),
                  ids.as<int64_t>(),
                  n,
                  extent,
                  columns,
                  Split(inner, columns),
                  reinterpret_cast<int*>(a.workspace[0]),
                  reinterpret_cast<int*>(a.workspace[1]),
                  reinterpret_cast<int2*>(a.workspace[2]),
                  reinterpret_cast<float*>(a.workspace[3])};
  const bool fours = inner % 4 == 0 && aligned_for_fours(src) && aligned_for_fours(out) &&
                     (!start.defined() || aligned_for_fours(start));
  const int64_t chunks = (columns + (fours ? 127 : 31)) / (fours ? 128 : 32);
  const auto splits = [chunks](int64_t most) {
    return static_cast<unsigned>(chunks < 1 ? 1 : chunks < most ? chunks : most);
  };
  launch(a, 0, fours ? order_positions<4> : order_positions<1>, dim3(blocks_for(n, kListPiece), splits(8)),
         kOrderThreads, 0, t);
  launch(a, 1, link_runs, 1, kOrderThreads, 0, t.heads, t.runs, n);
  const bool many_rows = extent >= 4096;  // else columns and a row's terms must fill the device
  const int rows_per_block = many_rows ? kSumWarps : 1;
  launch(a, 2, fours ? sum_rows<4> : sum_rows<1>,
         dim3(blocks_for(extent, rows_per_block), many_rows ? 1 : splits(1024)), kSumThreads, 0, t,
         rows_per_block);
}

}  // namespace

}  // namespace reckon::ops::gpu
