#include "ops/kernel/gpu/wide_norm.h"

#include "ops/kernel/gpu/norm_rows.cuh"

namespace reckon::ops::gpu {
namespace {

// The rows of norm_forward again, with the statistics that it left.
template <NormKind kKind, class Tile>
__global__ void __launch_bounds__(kRowThreads) norm_again_registers(NormForward p) {
  const Tile t = Tile::of_block(int64_t{blockIdx.x} * Tile::kRowsPerBlock, p.rows, p.c, p.fours);
  typename Tile::Raw raw;
  t.issue(p.x, raw);
  float mean[Tile::kRows] = {}, rstd[Tile::kRows] = {};
#pragma unroll
  for (int r = 0; r < Tile::kRows; ++r) {
    if (r >= t.rows) continue;
    if constexpr (kKind == NormKind::layer) mean[r] = p.mean[t.row + r * t.step];
    rstd[r] = p.rstd[t.row + r * t.step];
  }
  typename Tile::Values v;
  t.values(raw, p.x.dtype, 0.0f, v);
  normalise<kKind>(p, t, mean, rstd, v);
}

// A block per row.
template <NormKind kKind>
__global__ void __launch_bounds__(kRowThreads) norm_again_wide(NormForward p) {
  const int64_t row = blockIdx.x;
  if (row >= p.rows) return;
  const float mean[1] = {kKind == NormKind::layer ? p.mean[row] : 0.0f}, rstd[1] = {p.rstd[row]};
  for (int64_t j = 0; j < p.c; j += WideNormTile::kWidth) {
    const auto t = WideNormTile::of_row(row, p.c, j, p.fours);
    WideNormTile::Values v;
    t.load(p.x, 0.0f, v);
    normalise<kKind>(p, t, mean, rstd, v);
  }
}

template <NormKind kKind>
void launch_norm_again(const KernelArgs& a, int index, const NormForward& p) {
  if (p.c > kRegisterColumns)
    return launch(a, index, norm_again_wide<kKind>, blocks_for(p.rows, 1), kRowThreads, 0, p);
  with_row_tile(p.c, [&](auto tile) {
    using Tile = decltype(tile);
    launch(a, index, norm_again_registers<kKind, Tile>, blocks_for(p.rows, Tile::kRowsPerBlock), kRowThreads, 0,
           p);
  });
}

}  // namespace

void WideNorm::normalise(const KernelArgs& a, int index, int64_t row0, int64_t rows, RowMatrix to,
                         bool finds) const {
  const int64_t c = x.last();
  const TensorArg from = rows_of(x).from_row(row0).argument(rows), y = to.argument(rows);
  const NormForward p{
      .x = elements(from),
      .weight = elements(weight),
      .bias = elements(bias),
      .y = elements(y),
      .mean = mean ? mean + row0 : nullptr,
      .rstd = rstd + row0,
      .rows = rows,
      .c = c,
      .eps = static_cast<float>(eps),
      .fours = takes_fours(from, c) && takes_fours(weight, c) && takes_fours(bias, c) && takes_fours(y, c)};
  if (kind == NormKind::layer)
    finds ? launch_norm_forward<NormKind::layer>(a, index, p) : launch_norm_again<NormKind::layer>(a, index, p);
  else
    finds ? launch_norm_forward<NormKind::rms>(a, index, p) : launch_norm_again<NormKind::rms>(a, index, p);
}

void WideNorm::gradient(const KernelArgs& a, int index, int64_t row0, int64_t rows, RowMatrix dn, RowMatrix dx,
                        float* partial, bool wants_weight, bool wants_bias) const {
  const int64_t c = x.last();
  const TensorArg g = dn.argument(rows), from = rows_of(x).from_row(row0).argument(rows),
                  to = dx.argument(rows);
  const NormBackward p{
      .g = elements(g),
      .x = elements(from),
      .weight = elements(weight),
      .dx = elements(to),
      .mean = mean ? mean + row0 : nullptr,
      .rstd = rstd + row0,
      .partial = partial,
      .rows = rows,
      .c = c,
      .wants_weight = wants_weight,
      .wants_bias = wants_bias,
      .fours = takes_fours(g, c) && takes_fours(from, c) && takes_fours(weight, c) && takes_fours(to, c)};
  if (kind == NormKind::layer)
    launch_norm_backward<NormKind::layer>(a, index, p);
  else
    launch_norm_backward<NormKind::rms>(a, index, p);
}

}  // namespace reckon::ops::gpu
