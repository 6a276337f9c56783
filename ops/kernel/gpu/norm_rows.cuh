// Layer and root-mean-square norms over the last axis, forward and backward. Rows of up to kRegisterColumns
// columns are read once, into registers; wider ones are a block's, which reads them again from its cache.
#pragma once

#include "ops/kernel/gpu/piece_sums.cuh"
#include "ops/kernel/gpu/register_rows.cuh"
#include "ops/kernel/plan/norm_kind.h"
#include "ops/kernel/plan/norm_pieces.h"

namespace reckon::ops::gpu {

// y = (x - mean) rstd weight + bias, rstd = 1 / sqrt(variance + eps). rms: mean 0, and
// the mean square for the variance.
struct NormForward {
  Elements x, weight, bias, y;  // [rows, c]; weight and bias [c], either may be absent
  float *mean, *rstd;           // [rows], written; rms has no mean
  int64_t rows, c;
  float eps;
  bool fours;  // all of these may be accessed in fours
};

// With xh = (x - mean) rstd and u = g weight: dx = rstd (u - mean(u) - xh mean(u xh)), without the middle term
// for rms; dweight = sum over the rows of g xh, dbias = sum over the rows of g.
struct NormBackward {
  Elements g, x, weight, dx;  // weight and dx may be absent
  const float *mean, *rstd;
  float* partial;  // [norm_gpu_pieces, dweight and dbias as wanted, c]
  int64_t rows, c;
  bool wants_weight, wants_bias;
  bool fours;
};

namespace {

using WideNormTile = RowTile<kRowThreads, 4, 1>;

// A parameter's values in the columns of a tile, `otherwise` when it is absent.
template <class Tile>
__device__ __forceinline__ void load_parameter(const Tile& t, const Elements& e, float otherwise,
                                               float (&v)[1][Tile::kGroups][4]) {
  if (e)
    t.parameter().load(e, 0.0f, v);
  else
    t.each_in_row([&](int k, int i) { v[0][k][i] = otherwise; });
}

template <NormKind kKind, class Tile>
__device__ __forceinline__ void normalise(const NormForward& p, const Tile& t, const float (&mean)[Tile::kRows],
                                          const float (&rstd)[Tile::kRows], typename Tile::Values& v) {
  float weight[1][Tile::kGroups][4], bias[1][Tile::kGroups][4];
  load_parameter(t, p.weight, 1.0f, weight);
  load_parameter(t, p.bias, 0.0f, bias);
  t.each([&](int r, int k, int i) {
    const float xh = (kKind == NormKind::layer ? v[r][k][i] - mean[r] : v[r][k][i]) * rstd[r];
    v[r][k][i] = xh * weight[0][k][i] + bias[0][k][i];
  });
  t.store(p.y, v);
}

template <NormKind kKind, class Tile>
__global__ void __launch_bounds__(kRowThreads) norm_forward_registers(NormForward p) {
  __shared__ float cells[32];
  const Tile t = Tile::of_block(int64_t{blockIdx.x} * Tile::kRowsPerBlock, p.rows, p.c, p.fours);
  const float share = 1.0f / static_cast<float>(p.c);
  typename Tile::Values v;
  t.load(p.x, 0.0f, v);
  float mean[Tile::kRows] = {}, rstd[Tile::kRows];
#pragma unroll
  for (int r = 0; r < Tile::kRows; ++r) {
    if constexpr (kKind == NormKind::layer) {
      t.each_in_row([&](int k, int i) { mean[r] += v[r][k][i]; });
      mean[r] = lanes_sum<Tile::kLanes>(mean[r], cells) * share;
    }
  }
#pragma unroll
  for (int r = 0; r < Tile::kRows; ++r) {
    float squares = 0;
    t.each_in_row([&](int k, int i) {
      const float d = v[r][k][i] - mean[r];
      squares += t.holds(k, i) ? d * d : 0.0f;
    });
    rstd[r] = rsqrtf(lanes_sum<Tile::kLanes>(squares, cells) * share + p.eps);
  }
#pragma unroll
  for (int r = 0; r < Tile::kRows; ++r) {
    if (t.lane != 0 || r >= t.rows) continue;
    if constexpr (kKind == NormKind::layer) p.mean[t.row + r * t.step] = mean[r];
    p.rstd[t.row + r * t.step] = rstd[r];
  }
  normalise<kKind>(p, t, mean, rstd, v);
}

// A block per row.
template <NormKind kKind>
__global__ void __launch_bounds__(kRowThreads) norm_forward_wide(NormForward p) {
  __shared__ float cells[32];
  const int64_t row = blockIdx.x;
  if (row >= p.rows) return;
  const float share = 1.0f / static_cast<float>(p.c);
  WideNormTile::Values v;
  float mean[1] = {}, rstd[1];
  if constexpr (kKind == NormKind::layer) {
    for (int64_t j = 0; j < p.c; j += WideNormTile::kWidth) {
      const auto t = WideNormTile::of_row(row, p.c, j, p.fours);
      t.load(p.x, 0.0f, v);
      t.each_in_row([&](int k, int i) { mean[0] += v[0][k][i]; });
    }
    mean[0] = block_sum(mean[0], cells) * share;
  }
  float squares = 0;
  for (int64_t j = 0; j < p.c; j += WideNormTile::kWidth) {
    const auto t = WideNormTile::of_row(row, p.c, j, p.fours);
    t.load(p.x, mean[0], v);
    t.each_in_row([&](int k, int i) { squares += (v[0][k][i] - mean[0]) * (v[0][k][i] - mean[0]); });
  }
  rstd[0] = rsqrtf(block_sum(squares, cells) * share + p.eps);
  if (threadIdx.x == 0) {
    if constexpr (kKind == NormKind::layer) p.mean[row] = mean[0];
    p.rstd[row] = rstd[0];
  }
  for (int64_t j = 0; j < p.c; j += WideNormTile::kWidth) {
    const auto t = WideNormTile::of_row(row, p.c, j, p.fours);
    t.load(p.x, 0.0f, v);
    normalise<kKind>(p, t, mean, rstd, v);
  }
}

// Of the parameters' partial sums, once each warp has added up its own: one per warp, or parts of one.
template <class Tile>
inline constexpr int norm_copies = kRowThreads / (Tile::kLanes > 32 ? Tile::kLanes : 32);

// Rows stay in registers between their two sums and dx, and so do the sums of the parameters' gradients, for
// the rows that a lane sees; at the end the block adds them up in order.
template <NormKind kKind, class Tile>
__global__ void __launch_bounds__(kRowThreads) norm_backward_registers(NormBackward p, int64_t piece) {
  RECKON_DYNAMIC_SHARED(float, copies);  // [norm_copies, c]
  __shared__ float cells[32];
  constexpr bool layer = kKind == NormKind::layer;
  const int64_t first = int64_t{blockIdx.x} * piece, last = first + piece < p.rows ? first + piece : p.rows;
  const float share = 1.0f / static_cast<float>(p.c);
  float dweight[Tile::kGroups][4] = {}, dbias[Tile::kGroups][4] = {};
  for (int64_t start = first; start < last; start += Tile::kRowsPerBlock) {
    const Tile t = Tile::of_block(start, last, p.c, p.fours);
    typename Tile::Raw raw_g, raw_x;
    t.issue(p.g, raw_g);
    t.issue(p.x, raw_x);
    float mean[Tile::kRows] = {}, rstd[Tile::kRows] = {};
#pragma unroll
    for (int r = 0; r < Tile::kRows; ++r) {
      if (r >= t.rows) continue;
      if constexpr (layer) mean[r] = p.mean[t.row + r * t.step];
      rstd[r] = p.rstd[t.row + r * t.step];
    }
    typename Tile::Values u, xh;
    t.values(raw_g, p.g.dtype, 0.0f, u);
    t.values(raw_x, p.x.dtype, 0.0f, xh);
    // Where the tile holds nothing g is 0, and with it all that is added up.
    t.each([&](int r, int k, int i) {
      xh[r][k][i] = (layer ? xh[r][k][i] - mean[r] : xh[r][k][i]) * rstd[r];
      dweight[k][i] += u[r][k][i] * xh[r][k][i];
      if constexpr (layer) dbias[k][i] += u[r][k][i];
    });
    if (!p.dx) continue;
    if (p.weight) {
      float weight[1][Tile::kGroups][4];
      t.parameter().load(p.weight, 0.0f, weight);
      t.each([&](int r, int k, int i) { u[r][k][i] *= weight[0][k][i]; });
    }
#pragma unroll
    for (int r = 0; r < Tile::kRows; ++r) {
      float sum = 0, dot = 0;
      t.each_in_row([&](int k, int i) {
        if constexpr (layer) sum += u[r][k][i];
        dot += u[r][k][i] * xh[r][k][i];
      });
      if constexpr (layer) sum = lanes_sum<Tile::kLanes>(sum, cells) * share;
      dot = lanes_sum<Tile::kLanes>(dot, cells) * share;
      t.each_in_row([&](int k, int i) { u[r][k][i] = rstd[r] * (u[r][k][i] - sum - xh[r][k][i] * dot); });
    }
    t.store(p.dx, u);
  }
  const Tile t = Tile::of_block(first, last, p.c, p.fours);
  const auto write = [&](float(&sums)[Tile::kGroups][4], float* to) {
    t.each_in_row([&](int k, int i) {
#pragma unroll
      for (int d = Tile::kLanes; d < 32; d *= 2) sums[k][i] += __shfl_xor_sync(0xffffffffu, sums[k][i], d);
      if (threadIdx.x % 32 < Tile::kLanes && t.holds(k, i))
        copies[threadIdx.x * norm_copies<Tile> / kRowThreads * p.c + t.column(k, i)] = sums[k][i];
    });
    __syncthreads();
    for (int64_t j = threadIdx.x; j < p.c; j += kRowThreads) {
      float total = 0;
#pragma unroll
      for (int n = 0; n < norm_copies<Tile>; ++n) total += copies[n * p.c + j];
      to[j] = total;
    }
    __syncthreads();
  };
  float* own = p.partial + blockIdx.x * p.c * (int64_t{p.wants_weight} + p.wants_bias);
  if (p.wants_weight) write(dweight, own);
  if (p.wants_bias) write(dbias, own + (p.wants_weight ? p.c : 0));
}

// The block goes through its piece row by row. Its partial sums grow in the
// workspace, each by one thread alone.
template <NormKind kKind>
__global__ void __launch_bounds__(kRowThreads) norm_backward_wide(NormBackward p, int64_t piece) {
  __shared__ float cells[32];
  using Parameter = float[1][WideNormTile::kGroups][4];
  constexpr bool layer = kKind == NormKind::layer;
  const int64_t first = int64_t{blockIdx.x} * piece, last = first + piece < p.rows ? first + piece : p.rows;
  const float share = 1.0f / static_cast<float>(p.c);
  const int n_sums = p.wants_weight + p.wants_bias;
  const Elements own{p.partial + blockIdx.x * p.c * n_sums, DType::f32};
  for (int64_t j = threadIdx.x; first >= last && j < n_sums * p.c; j += kRowThreads) gpu::store(own, j, 0.0f);
  WideNormTile::Values u, xh;
  const auto load = [&](const WideNormTile& t, float mean, float rstd) {
    WideNormTile::Raw raw_g, raw_x;
    t.issue(p.g, raw_g);
    t.issue(p.x, raw_x);
    t.values(raw_g, p.g.dtype, 0.0f, u);
    t.values(raw_x, p.x.dtype, 0.0f, xh);
    t.each([&](int r, int k, int i) { xh[r][k][i] = (xh[r][k][i] - mean) * rstd; });
  };
  const auto weigh = [&](const WideNormTile& t) {
    Parameter weight;
    load_parameter(t, p.weight, 1.0f, weight);
    t.each([&](int r, int k, int i) { u[r][k][i] *= weight[r][k][i]; });
  };
  for (int64_t row = first; row < last; ++row) {
    const float mean = layer ? p.mean[row] : 0.0f, rstd = p.rstd[row];
    float sum = 0, dot = 0;
    for (int64_t j = 0; j < p.c; j += WideNormTile::kWidth) {
      const auto t = WideNormTile::of_row(row, p.c, j, p.fours);
      load(t, mean, rstd);
      for (int s = 0; s < n_sums; ++s) {
        const bool of_weight = p.wants_weight && s == 0;
        const auto place = WideNormTile::of_row(s, p.c, j, p.fours);
        Parameter so_far = {};
        if (row > first) place.load(own, 0.0f, so_far);
        t.each(
            [&](int r, int k, int i) { so_far[r][k][i] += of_weight ? u[r][k][i] * xh[r][k][i] : u[r][k][i]; });
        place.store(own, so_far);
      }
      weigh(t);
      t.each([&](int r, int k, int i) {
        sum += u[r][k][i];
        dot += u[r][k][i] * xh[r][k][i];
      });
    }
    if (!p.dx) continue;
    sum = layer ? block_sum(sum, cells) * share : 0.0f;
    dot = block_sum(dot, cells) * share;
    for (int64_t j = 0; j < p.c; j += WideNormTile::kWidth) {
      const auto t = WideNormTile::of_row(row, p.c, j, p.fours);
      load(t, mean, rstd);
      weigh(t);
      t.each([&](int r, int k, int i) { u[r][k][i] = rstd * (u[r][k][i] - sum - xh[r][k][i] * dot); });
      t.store(p.dx, u);
    }
  }
}

// Launch `index` of the plan.
template <NormKind kKind>
void launch_norm_forward(const KernelArgs& a, int index, const NormForward& p) {
  if (p.c > kRegisterColumns)
    return launch(a, index, norm_forward_wide<kKind>, blocks_for(p.rows, 1), kRowThreads, 0, p);
  with_row_tile(p.c, [&](auto tile) {
    using Tile = decltype(tile);
    launch(a, index, norm_forward_registers<kKind, Tile>, blocks_for(p.rows, Tile::kRowsPerBlock), kRowThreads,
           0, p);
  });
}

// Launch `index`: dx and the partial sums. Their sum, where wanted, is launch_norm_parameters.
template <NormKind kKind>
void launch_norm_backward(const KernelArgs& a, int index, const NormBackward& p) {
  const int64_t piece = norm_gpu_piece(p.rows, p.c);
  const auto pieces = static_cast<unsigned>(norm_gpu_pieces(p.rows, p.c));
  if (p.c > kRegisterColumns)
    return launch(a, index, norm_backward_wide<kKind>, pieces, kRowThreads, 0, p, piece);
  with_row_tile(p.c, [&](auto tile) {
    using Tile = decltype(tile);
    const size_t shared =
        p.wants_weight || p.wants_bias ? static_cast<size_t>(norm_copies<Tile> * p.c) * sizeof(float) : 0;
    launch(a, index, norm_backward_registers<kKind, Tile>, pieces, kRowThreads, shared, p, piece);
  });
}

// dweight and dbias, as wanted, in this order; the one alone goes into `first`.
inline void launch_norm_parameters(const KernelArgs& a, int index, const NormBackward& p, Elements first,
                                   Elements second) {
  launch_sum_pieces(a, index, p.partial, first, second, norm_gpu_pieces(p.rows, p.c), p.c,
                    p.c * (p.wants_weight + p.wants_bias));
}

}  // namespace
}  // namespace reckon::ops::gpu
