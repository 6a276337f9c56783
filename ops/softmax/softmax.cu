// Rows of up to kRegisterColumns columns stay in registers; a wider one is a block's, which reads it
// twice. Formulas: see softmax_kernel.h. A row of -infinity comes out as NaN in softmax and log_softmax
// and as -infinity in logsumexp.
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/launch.cuh"
#include "ops/kernel/gpu/row_softmax.cuh"
#include "ops/softmax/softmax_inputs.h"

namespace reckon::ops::gpu {
namespace {

// Known at run time: the branches are uniform, and kernels a third as many.
enum class Kind { softmax, log_softmax, logsumexp };

// Of each row, what logsumexp's backward reads.
struct Statistics {
  float *top = nullptr, *log_sum = nullptr;
};

// y from x and the sums of its rows, in place; logsumexp gives one number per row.
template <class Tile>
__device__ __forceinline__ void finish(Kind kind, const Tile& t, const Elements& y,
                                       const Statistics& statistics, const ExpSum (&sums)[Tile::kRows],
                                       typename Tile::Values& v) {
#pragma unroll
  for (int r = 0; r < Tile::kRows; ++r) {
    const float shift = exp_shift(sums[r].top);
    if (kind == Kind::softmax) {
      const float inverse = 1.0f / sums[r].finite_sum();
      t.each_in_row([&](int k, int i) { v[r][k][i] = expf(v[r][k][i] - shift) * inverse; });
    } else if (kind == Kind::log_softmax) {
      const float log_sum = logf(sums[r].finite_sum());
      t.each_in_row([&](int k, int i) { v[r][k][i] = (v[r][k][i] - sums[r].top) - log_sum; });
    } else if (t.lane == 0 && r < t.rows) {
      const float log_sum = logf(sums[r].sum);
      const int64_t row = t.row + r * t.step;
      statistics.top[row] = sums[r].top, statistics.log_sum[row] = log_sum;
      store(y, row, shift + log_sum);
    }
  }
  if (kind != Kind::logsumexp) t.store(y, v);
}

template <class Tile>
__global__ void __launch_bounds__(kRowThreads)
    softmax_registers(Kind kind, Elements x, Elements y, Statistics statistics, int64_t rows, int64_t c,
                      bool fours) {
  __shared__ float cells[32];
  const Tile t = Tile::of_block(int64_t{blockIdx.x} * Tile::kRowsPerBlock, rows, c, fours);
  typename Tile::Values v;
  t.load(x, -INFINITY, v);
  ExpSum sums[Tile::kRows];
  tile_exp_sums(t, v, sums, cells);
  finish(kind, t, y, statistics, sums, v);
}

__global__ void __launch_bounds__(kWideRowThreads)
    softmax_wide(Kind kind, Elements x, Elements y, Statistics statistics, int64_t rows, int64_t c,
                 bool fours) {
  __shared__ float cells[32];
  const int64_t row = blockIdx.x;
  if (row >= rows) return;
  const ExpSum sums[1] = {wide_row_exp_sum(x, row, c, fours, cells)};
  for (int64_t j = 0; j < (kind == Kind::logsumexp ? 1 : c); j += WideRowTile::kWidth) {
    const auto t = WideRowTile::of_row(row, c, j, fours);
    WideRowTile::Values v = {};
    if (kind != Kind::logsumexp) t.load(x, 0.0f, v);
    finish(kind, t, y, statistics, sums, v);
  }
}

// The term of a row's sum that one element brings, and dx from that sum. Not for logsumexp.
__device__ __forceinline__ float term(Kind kind, float g, float y) { return kind == Kind::softmax ? g * y : g; }
__device__ __forceinline__ float input_gradient(Kind kind, float g, float y, float sum) {
  return kind == Kind::softmax ? y * (g - sum) : g - expf(y) * sum;
}

template <class Tile>
__global__ void __launch_bounds__(kRowThreads)
    softmax_backward_registers(Kind kind, Elements g, Elements y, Elements dx, int64_t rows, int64_t c,
                               bool fours) {
  __shared__ float cells[32];
  const Tile t = Tile::of_block(int64_t{blockIdx.x} * Tile::kRowsPerBlock, rows, c, fours);
  typename Tile::Raw raw_g, raw_y;
  t.issue(g, raw_g);
  t.issue(y, raw_y);
  typename Tile::Values gv, yv;
  t.values(raw_g, g.dtype, 0.0f, gv);
  t.values(raw_y, y.dtype, 0.0f, yv);
#pragma unroll
  for (int r = 0; r < Tile::kRows; ++r) {
    float sum = 0;
    t.each_in_row([&](int k, int i) { sum += term(kind, gv[r][k][i], yv[r][k][i]); });
    sum = lanes_sum<Tile::kLanes>(sum, cells);
    t.each_in_row([&](int k, int i) { gv[r][k][i] = input_gradient(kind, gv[r][k][i], yv[r][k][i], sum); });
  }
  t.store(dx, gv);
}

__global__ void __launch_bounds__(kWideRowThreads)
    softmax_backward_wide(Kind kind, Elements g, Elements y, Elements dx, int64_t rows, int64_t c, bool fours) {
  __shared__ float cells[32];
  const int64_t row = blockIdx.x;
  if (row >= rows) return;
  WideRowTile::Values gv, yv;
  const auto load = [&](const WideRowTile& t) {
    WideRowTile::Raw raw_g, raw_y;
    t.issue(g, raw_g);
    t.issue(y, raw_y);
    t.values(raw_g, g.dtype, 0.0f, gv);
    t.values(raw_y, y.dtype, 0.0f, yv);
  };
  float sum = 0;
  for (int64_t j = 0; j < c; j += WideRowTile::kWidth) {
    const auto t = WideRowTile::of_row(row, c, j, fours);
    load(t);
    t.each([&](int r, int k, int i) { sum += term(kind, gv[r][k][i], yv[r][k][i]); });
  }
  sum = block_sum(sum, cells);
  for (int64_t j = 0; j < c; j += WideRowTile::kWidth) {
    const auto t = WideRowTile::of_row(row, c, j, fours);
    load(t);
    t.each([&](int r, int k, int i) { gv[r][k][i] = input_gradient(kind, gv[r][k][i], yv[r][k][i], sum); });
    t.store(dx, gv);
  }
}

// dx = g exp((x - top) - log_sum), with one of each per row: no sum, so wide rows need not be a block's.
template <class Tile>
__global__ void __launch_bounds__(kRowThreads)
    logsumexp_backward_tiles(Elements g, Elements x, Statistics statistics, Elements dx, int64_t rows,
                             int64_t c, bool fours) {
  const int64_t tiles = (c + Tile::kWidth - 1) / Tile::kWidth, first = blockIdx.x / tiles * Tile::kRowsPerBlock;
  Tile t = Tile::of_block(first, rows, c, fours);
  if (tiles > 1) t = t.from_column(blockIdx.x % tiles * Tile::kWidth);
  typename Tile::Values v;
  t.load(x, 0.0f, v);
#pragma unroll
  for (int r = 0; r < Tile::kRows; ++r) {
    if (r >= t.rows) continue;
    const int64_t row = t.row + r * t.step;
    const float gv = load(g, row), top = statistics.top[row], log_sum = statistics.log_sum[row];
    t.each_in_row([&](int k, int i) { v[r][k][i] = gv * expf((v[r][k][i] - top) - log_sum); });
  }
  t.store(dx, v);
}

Statistics statistics_of(const TensorArg& t, int64_t rows) { return {t.as<float>(), t.as<float>() + rows}; }

template <Kind kKind>
void forward(KernelArgs& a) {
  const TensorArg &x = a.in[0], &y = a.out[0];
  const int64_t rows = x.rows(), c = x.last();
  const bool fours = takes_fours(x, c) && (kKind == Kind::logsumexp || takes_fours(y, c));
  Statistics statistics;
  if (kKind == Kind::logsumexp) statistics = statistics_of(a.out[logsumexp_out::statistics], rows);
  if (c > kRegisterColumns)
    return launch(a, 0, softmax_wide, blocks_for(rows, 1), kWideRowThreads, 0, kKind, elements(x), elements(y),
                  statistics, rows, c, fours);
  with_row_tile(c, [&](auto tile) {
    using Tile = decltype(tile);
    launch(a, 0, softmax_registers<Tile>, blocks_for(rows, Tile::kRowsPerBlock), kRowThreads, 0, kKind,
           elements(x), elements(y), statistics, rows, c, fours);
  });
}

template <Kind kKind>
void backward(KernelArgs& a) {
  const TensorArg &g = a.in[softmax_backward_in::g], &y = a.in[softmax_backward_in::y], &dx = a.out[0];
  const int64_t rows = y.rows(), c = y.last();
  const bool fours = takes_fours(g, c) && takes_fours(y, c) && takes_fours(dx, c);
  if (c > kRegisterColumns)
    return launch(a, 0, softmax_backward_wide, blocks_for(rows, 1), kWideRowThreads, 0, kKind, elements(g),
                  elements(y), elements(dx), rows, c, fours);
  with_row_tile(c, [&](auto tile) {
    using Tile = decltype(tile);
    launch(a, 0, softmax_backward_registers<Tile>, blocks_for(rows, Tile::kRowsPerBlock), kRowThreads, 0, kKind,
           elements(g), elements(y), elements(dx), rows, c, fours);
  });
}

void logsumexp_backward_gpu(KernelArgs& a) {
  const TensorArg &g = a.in[logsumexp_backward_in::g], &x = a.in[logsumexp_backward_in::x], &dx = a.out[0];
  const int64_t rows = x.rows(), c = x.last();
  const Statistics statistics = statistics_of(a.in[logsumexp_backward_in::statistics], rows);
  const bool fours = takes_fours(x, c) && takes_fours(dx, c);
  const auto run = [&](auto tile) {
    using Tile = decltype(tile);
    const int64_t groups = (rows + Tile::kRowsPerBlock - 1) / Tile::kRowsPerBlock,
                  tiles = (c + Tile::kWidth - 1) / Tile::kWidth;
    launch(a, 0, logsumexp_backward_tiles<Tile>, blocks_for(groups * tiles, 1), kRowThreads, 0, elements(g),
           elements(x), statistics, elements(dx), rows, c, fours);
  };
  if (c <= 32)
    run(RowTile<8, 1, 4>{});
  else
    run(RowTile<32, 1, 4>{});
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(softmax) {
  using K = Kind;
  return {{"softmax", forward<K::softmax>},         {"softmax_backward", backward<K::softmax>},
          {"log_softmax", forward<K::log_softmax>}, {"log_softmax_backward", backward<K::log_softmax>},
          {"logsumexp", forward<K::logsumexp>},     {"logsumexp_backward", logsumexp_backward_gpu}};
}
