// Copies of elements as they are, from any strides to any strides: for ops that move bytes whatever their type.
// The widest word (1 to 16 bytes) that divides every run, stride and address is moved; where rows become
// columns, tiles go through shared memory so that both sides are read and written in rows.
#pragma once

#include "ops/kernel/gpu/launch.cuh"
#include "ops/kernel/gpu/walk.cuh"
#include "ops/kernel/gpu/words.cuh"

namespace reckon::ops::gpu {

struct StridedCopy {
  const std::byte* from = nullptr;
  std::byte* to = nullptr;
  Walk<2> walk;  // of `from` and `to`, in words; the innermost axis has the smallest step in `to`
};

// A copy in bytes: strides of `from` and `to` in elements of `element` bytes.
inline StridedCopy copy_in_bytes(int rank, const int64_t* shape, int64_t element, const std::byte* from,
                                 const int64_t* from_strides, std::byte* to, const int64_t* to_strides) {
  struct Axis {
    int64_t extent, from, to;
  } axes[kMaxRank];
  int n = 0;
  for (int d = 0; d < rank; ++d)
    if (shape[d] != 1) axes[n++] = {shape[d], from_strides[d] * element, to_strides[d] * element};
  // By falling step in `to`, so that neighbours there are written together: the order of a copy's axes is free.
  for (int i = 1; i < n; ++i)
    for (int j = i; j > 0 && axes[j - 1].to < axes[j].to; --j) {
      const Axis outer = axes[j];
      axes[j] = axes[j - 1];
      axes[j - 1] = outer;
    }
  StridedCopy c{from, to, {}};
  Walk<2>& w = c.walk;
  w.extent[0] = element, w.stride[0][0] = w.stride[1][0] = 1;
  for (int i = n - 1; i >= 0; --i) {
    const Axis& x = axes[i];
    const int last = w.axes - 1;
    if (x.from == w.stride[0][last] * w.extent[last] && x.to == w.stride[1][last] * w.extent[last]) {
      w.extent[last] *= x.extent;
    } else {
      w.extent[w.axes] = x.extent, w.stride[0][w.axes] = x.from, w.stride[1][w.axes] = x.to;
      ++w.axes;
    }
  }
  return c;
}

// Bytes of the widest word a copy in bytes can move.
inline int64_t word_of(const StridedCopy& c) {
  int64_t word = word_of(c.walk.extent[0]);
  const auto limit = [&word](int64_t w) { word = w < word ? w : word; };
  limit(word_of(c.from));
  limit(word_of(c.to));
  for (int a = 1; a < c.walk.axes; ++a)
    limit(word_of(c.walk.stride[0][a])), limit(word_of(c.walk.stride[1][a]));
  return word;
}

inline void count_in_words(StridedCopy& c, int64_t word) {
  Walk<2>& w = c.walk;
  w.extent[0] /= word;
  for (int a = 1; a < w.axes; ++a) w.stride[0][a] /= word, w.stride[1][a] /= word;
  if (w.extent[0] == 1 && w.axes > 1) {
    for (int a = 1; a < w.axes; ++a)
      w.extent[a - 1] = w.extent[a], w.stride[0][a - 1] = w.stride[0][a], w.stride[1][a - 1] = w.stride[1][a];
    --w.axes;
  }
  w.finish();
}

template <int kMost>
struct StridedCopies {
  int n = 0;
  StridedCopy copy[kMost];
  int64_t first_block[kMost] = {};
};

template <class W, int kMost>
__global__ void __launch_bounds__(kCopyThreads) copy_words(const __grid_constant__ StridedCopies<kMost> t) {
  int which = 0;
  if constexpr (kMost > 1)
    while (which + 1 < t.n && blockIdx.x >= t.first_block[which + 1]) ++which;
  const StridedCopy& c = t.copy[which];
  const int64_t first =
      (int64_t{blockIdx.x} - t.first_block[which]) * (kCopyThreads * kWordsPerThread) + threadIdx.x;
  W words[kWordsPerThread];
  int64_t at[kWordsPerThread][2];
#pragma unroll
  for (int g = 0; g < kWordsPerThread; ++g) {
    const int64_t i = first + g * kCopyThreads;
    if (i >= c.walk.count) break;
    c.walk.offsets(i, at[g]);
    words[g] = reinterpret_cast<const W*>(c.from)[at[g][0]];
  }
#pragma unroll
  for (int g = 0; g < kWordsPerThread; ++g) {
    if (first + g * kCopyThreads >= c.walk.count) break;
    reinterpret_cast<W*>(c.to)[at[g][1]] = words[g];
  }
}

// Two axes change places: along `rows` the step in `to` is 1, along `columns` the step in `from` is 1.
struct Transposition {
  const std::byte* from = nullptr;
  std::byte* to = nullptr;
  int64_t rows = 0, columns = 0, row_stride = 0, column_stride = 0;  // of rows in `from`, of columns in `to`
  int64_t row_tiles = 0, column_tiles = 0;
  Walk<2> batch;  // the other axes
};

// A block takes one tile; 32 x 8 threads.
template <class W, int kTile>
__global__ void __launch_bounds__(kCopyThreads) transpose_tiles(const __grid_constant__ Transposition t) {
  __shared__ W tile[kTile][kTile + (sizeof(W) < 4 ? 4 / sizeof(W) : 1)];  // columns fall on 32 banks
  const int64_t tiles = t.row_tiles * t.column_tiles, batch = blockIdx.x / tiles,
                rest = blockIdx.x - batch * tiles;
  const int64_t row = rest / t.column_tiles * kTile,
                column = (rest - rest / t.column_tiles * t.column_tiles) * kTile;
  int64_t at[2];
  t.batch.offsets(batch, at);
  const W* from = reinterpret_cast<const W*>(t.from) + at[0] + row * t.row_stride + column;
  W* to = reinterpret_cast<W*>(t.to) + at[1] + column * t.column_stride + row;
  const int rows = t.rows - row < kTile ? static_cast<int>(t.rows - row) : kTile;
  const int columns = t.columns - column < kTile ? static_cast<int>(t.columns - column) : kTile;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int r = 0; r < kTile; r += kCopyThreads / 32)
#pragma unroll
    for (int c = 0; c < kTile; c += 32)
      if (r + warp < rows && c + lane < columns)
        tile[r + warp][c + lane] = from[(r + warp) * t.row_stride + c + lane];
  __syncthreads();
#pragma unroll
  for (int c = 0; c < kTile; c += kCopyThreads / 32)
#pragma unroll
    for (int r = 0; r < kTile; r += 32)
      if (c + warp < columns && r + lane < rows)
        to[(c + warp) * t.column_stride + r + lane] = tile[r + lane][c + warp];
}

// Whether a copy in words is a transposition worth tiles, and which.
inline bool as_transposition(const StridedCopy& c, int64_t tile, Transposition* t) {
  const Walk<2>& w = c.walk;
  if (w.count == 0 || w.axes < 2 || w.stride[1][0] != 1 || w.extent[0] < 8) return false;
  int columns = 0;
  for (int a = 1; a < w.axes; ++a)
    if (w.stride[0][a] == 1 && w.extent[a] >= 8) columns = a;
  if (columns == 0) return false;
  *t = {c.from, c.to, w.extent[0], w.extent[columns], w.stride[0][0], w.stride[1][columns]};
  t->row_tiles = (t->rows + tile - 1) / tile;
  t->column_tiles = (t->columns + tile - 1) / tile;
  t->batch.axes = 0;
  for (int a = 1; a < w.axes; ++a) {
    if (a == columns) continue;
    const int b = t->batch.axes++;
    t->batch.extent[b] = w.extent[a];
    for (int k = 0; k < 2; ++k) t->batch.stride[k][b] = w.stride[k][a];
  }
  if (t->batch.axes == 0) t->batch.axes = 1;
  t->batch.finish();
  return t->batch.count * t->row_tiles * t->column_tiles < int64_t{1} << 31;
}

// Launch `index` of the plan: one copy.
inline void launch_copy(const KernelArgs& a, int index, StridedCopy c) {
  const int64_t word = word_of(c);
  count_in_words(c, word);
  with_word(word, [&](auto w) {
    using W = decltype(w);
    if constexpr (sizeof(W) < 16) {
      constexpr int kTile = sizeof(W) < 8 ? 64 : 32;
      Transposition t;
      if (as_transposition(c, kTile, &t)) {
        launch(a, index, transpose_tiles<W, kTile>, blocks_for(t.batch.count * t.row_tiles * t.column_tiles, 1),
               kCopyThreads, 0, t);
        return;
      }
    }
    launch(a, index, copy_words<W, 1>, blocks_for(c.walk.count, kCopyThreads * kWordsPerThread), kCopyThreads,
           0, StridedCopies<1>{1, {c}});
  });
}

// Launch `index`: up to kMost copies in bytes, all in the widest word that serves each of them.
template <int kMost>
void launch_copies(const KernelArgs& a, int index, StridedCopies<kMost> t) {
  int64_t word = 16, blocks = 0;
  for (int k = 0; k < t.n; ++k) word = word_of(t.copy[k]) < word ? word_of(t.copy[k]) : word;
  for (int k = 0; k < t.n; ++k) {
    count_in_words(t.copy[k], word);
    t.first_block[k] = blocks;
    blocks += (t.copy[k].walk.count + kCopyThreads * kWordsPerThread - 1) / (kCopyThreads * kWordsPerThread);
  }
  with_word(word, [&](auto w) {
    launch(a, index, copy_words<decltype(w), kMost>, blocks_for(blocks, 1), kCopyThreads, 0, t);
  });
}

}  // namespace reckon::ops::gpu
