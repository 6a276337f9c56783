// CPU kernel of triangle_multiply: rows by tiles of positions, the triangle's sums by blocks of channels.
// Included by the kernel of its gradients, which shares its pieces.
#pragma once

#include "ops/kernel/cpu/norm_rows.h"
#include "ops/triangle_multiply/channel_blocks.h"
#include "ops/triangle_multiply/triangle_multiply_attrs.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// An R x R matrix per channel of a block.
struct ChannelMatrix {
  std::byte* data;
  bool transposed;
};

// c = a b for each of nb channels.
template <class C>
inline void multiply_channels(const KernelArgs& args, int64_t r, int64_t nb, DType t, ChannelMatrix a,
                              ChannelMatrix b, std::byte* c) {
  const GemmProblem p{.m = r,
                      .n = r,
                      .k = r,
                      .a = {a.data, t, a.transposed ? 1 : r, a.transposed ? r : 1},
                      .b = {b.data, t, b.transposed ? 1 : r, b.transposed ? r : 1},
                      .c = c,
                      .c_dtype = t,
                      .c_row_stride = r,
                      .c_col_stride = 1};
  products<C>(
      args, p,
      {.rank = 2, .size = {1, nb}, .a_stride = {0, r * r}, .b_stride = {0, r * r}, .c_stride = {0, r * r}});
}

// in as in triangle::Input; out: out, then what is kept as in triangle::Kept.
// Workspaces: products, norm tile, channel blocks of a, b and t; and where nothing is kept: projections and t
// of one batch element, tiles of a gate and of the output projection, statistics.
template <class C>
inline void triangle_multiply_kernel(KernelArgs& args) {
  using namespace triangle;
  const auto& attrs = args.as<TriangleMultiplyAttrs>();
  const TensorArg &zt = args.in[z], &mt = args.in[mask];
  const bool keeps = args.n_out > 1;
  const TensorArg* kept = args.out + 1;
  const DType low = args.in[w_a].dtype;
  const int64_t batches = zt.shape[0], r = zt.shape[1], n = r * r, cz = zt.shape[3], c = args.in[w_a].shape[0],
                c_out = args.in[w_z].shape[0];
  const int64_t widest = cz > c ? (cz > c_out ? cz : c_out) : (c > c_out ? c : c_out),
                tile = rows_per_tile(widest, cz);
  const int64_t height = n < tile ? n : tile;
  const Matrix normed{args.workspace[1], low, cz}, normed_t{args.workspace[1], low, c};
  const int64_t channels = c < triangle_channels(low) ? c : triangle_channels(low);
  std::byte* block[3];
  for (int64_t k = 0; k < 3; ++k)
    block[k] = element_at(args.workspace[2], low, k * padded_elements(channels * n));

  for (int64_t batch = 0; batch < batches; ++batch) {
    const int64_t row0 = batch * n;
    const auto rows_kept = [&](int k) { return rows_of(kept[k]).from_row(row0); };
    const auto spare = [&](int64_t k, int64_t width) {
      return Matrix{element_at(args.workspace[3], low, k * padded_elements(n * c)), low, width};
    };
    const Matrix values[2] = {keeps ? rows_kept(pa) : spare(0, c), keeps ? rows_kept(pb) : spare(1, c)};
    const Matrix t_rows = keeps ? rows_kept(t) : spare(2, c);
    const Matrix out = rows_of(args.out[0]).from_row(row0), gate_rows = keeps ? rows_kept(g) : out;
    C* statistics = reinterpret_cast<C*>(args.workspace[5]);
    const auto statistic = [&](int k) {
      return keeps ? reinterpret_cast<C*>(kept[k].data) + row0 : statistics + (k - mean_in) * n;
    };
    NormRows<C> norm_in{NormKind::layer,    zt,          args.in[ln_in_w], args.in[ln_in_b], statistic(mean_in),
                        statistic(rstd_in), C(attrs.eps)};
    norm_in.x.data = element_at(zt.data, zt.dtype, row0 * cz);
    TensorArg t_arg{t_rows.data, low, 2, {n, c}, {c, 1}};
    const NormRows<C> norm_out{
        NormKind::layer,     t_arg,       args.in[ln_out_w], args.in[ln_out_b], statistic(mean_out),
        statistic(rstd_out), C(attrs.eps)};

    args.launch(static_cast<int>(3 * batch));  // projections
    for (int64_t row = 0; row < n; row += tile) {
      const int64_t m = n - row < tile ? n - row : tile;
      norm_rows(args, norm_in, row, m, true, normed);
      multiply_by_weight<C>(args, m, normed, args.in[w_g], args.in[b_g], gate_rows.from_row(row));
      for (int side = 0; side < 2; ++side) {
        const int w = side ? w_b : w_a;
        const Matrix value = values[side].from_row(row);
        const Matrix gate =
            keeps ? rows_kept(side ? pbg : pag).from_row(row) : Matrix{args.workspace[4], low, c};
        multiply_by_weight<C>(args, m, normed, args.in[w], args.in[w + 1], value);
        multiply_by_weight<C>(args, m, normed, args.in[w + 2], args.in[w + 3], gate);
        if (keeps) continue;
        const int64_t first_position = row0 + row;
        parallel_ranges(args, m, 12 * c, [&](int64_t first, int64_t last) {
          alignas(64) C vb[kTile], gb[kTile], ob[kTile];
          for (int64_t i = first; i < last; ++i) {
            C cell;
            const C masked =
                mt.defined() ? *load_tile<C>(mt.data, mt.dtype, first_position + i, 1, 1, &cell) : C(1);
            for (int64_t j = 0; j < c; j += kTile) {
              const int64_t count = c - j < kTile ? c - j : kTile;
              const C* v = load_tile<C>(value.data, low, i * c + j, 1, count, vb);
              const C* gv = load_tile<C>(gate.data, low, i * c + j, 1, count, gb);
#pragma omp simd
              for (int64_t k = 0; k < count; ++k) ob[k] = k_sigmoid(gv[k]) * v[k];
              if (mt.defined())
                for (int64_t k = 0; k < count; ++k) ob[k] = ob[k] * masked;
              store_tile<C>(value.data, low, i * c + j, count, ob);
            }
          }
        });
      }
    }

    args.launch(static_cast<int>(3 * batch + 1));  // t, channel by channel
    for (int64_t ch0 = 0; ch0 < c; ch0 += channels) {
      const int64_t nb = c - ch0 < channels ? c - ch0 : channels;
      for (int side = 0; side < 2; ++side) {
        const Matrix gate = keeps ? rows_kept(side ? pbg : pag) : Matrix{};
        gather_channels<C>(args, n, ch0, nb, values[side], keeps ? &gate : nullptr, mt, row0, block[side], low);
      }
      multiply_channels<C>(args, r, nb, low, {block[0], !attrs.outgoing}, {block[1], attrs.outgoing}, block[2]);
      scatter_channels<C>(args, n, ch0, nb, block[2], low, t_rows);
    }

    args.launch(static_cast<int>(3 * batch + 2));  // output
    for (int64_t row = 0; row < n; row += tile) {
      const int64_t m = n - row < tile ? n - row : tile;
      norm_rows(args, norm_out, row, m, true, normed_t);
      const Matrix o_rows =
          keeps ? rows_kept(o).from_row(row)
                : Matrix{element_at(args.workspace[4], low, padded_elements(height * c)), low, c_out};
      multiply_by_weight<C>(args, m, normed_t, args.in[w_z], args.in[b_z], o_rows);
      map_rows<C, 2, 1>(args, m, c_out, {o_rows, gate_rows.from_row(row)}, {out.from_row(row)}, 12,
                        [](const C* const* v, C* const* y, int64_t count) {
                          const C *ov = v[0], *gv = v[1];
                          C* to = y[0];
#pragma omp simd
                          for (int64_t k = 0; k < count; ++k) to[k] = ov[k] * k_sigmoid(gv[k]);
                        });
    }
  }
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA
