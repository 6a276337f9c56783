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

// Extents, and the heights of tiles and blocks, of both directions. n: the positions of a batch element.
struct TriangleExtents {
  TriangleExtents(const TensorArg& z, const TensorArg& w_a, const TensorArg& w_z)
      : low(w_a.dtype),
        batches(z.shape[0]),
        r(z.shape[1]),
        n(r * r),
        cz(z.shape[3]),
        c(w_a.shape[0]),
        c_out(w_z.shape[0]) {
    const int64_t wider = c > c_out ? c : c_out;
    tile = rows_per_tile(cz > wider ? cz : wider, cz);
    channels = c < triangle_channels(low) ? c : triangle_channels(low);
  }
  int64_t rows(int64_t row) const { return n - row < tile ? n - row : tile; }
  int64_t channels_from(int64_t ch0) const { return c - ch0 < channels ? c - ch0 : channels; }
  std::byte* block(std::byte* blocks, int64_t k) const {
    return element_at(blocks, low, k * padded_elements(channels * n));
  }

  DType low;
  int64_t batches, r, n, cz, c, c_out, tile, channels;
};

// rows of value = sigmoid(gate) value mask.
template <class C>
inline void gate_rows(const KernelArgs& args, int64_t m, int64_t c, Matrix value, Matrix gate,
                      const TensorArg& mask, int64_t first_position) {
  const DType low = value.dtype;
  parallel_ranges(args, m, 12 * c, [&](int64_t first, int64_t last) {
    alignas(64) C vb[kTile], gb[kTile], ob[kTile];
    for (int64_t i = first; i < last; ++i) {
      C cell;
      const C masked =
          mask.defined() ? *load_tile<C>(mask.data, mask.dtype, first_position + i, 1, 1, &cell) : C(1);
      for (int64_t j = 0; j < c; j += kTile) {
        const int64_t count = c - j < kTile ? c - j : kTile;
        const C* v = load_tile<C>(value.data, low, i * c + j, 1, count, vb);
        const C* gv = load_tile<C>(gate.data, low, i * c + j, 1, count, gb);
#pragma omp simd
        for (int64_t k = 0; k < count; ++k) ob[k] = k_sigmoid(gv[k]) * v[k];
        if (mask.defined())
          for (int64_t k = 0; k < count; ++k) ob[k] = ob[k] * masked;
        store_tile<C>(value.data, low, i * c + j, count, ob);
      }
    }
  });
}

// The forward pass of one batch element, a method per launch. in as in triangle::Input; out: out, then
// what is kept as in triangle::Kept.
template <class C>
struct TriangleForward {
  using enum triangle::Input;
  using enum triangle::Kept;
  // Where nothing is kept: projections and t of one batch element, tiles of a gate and of the
  // output projection, statistics.
  enum Space : int { product_space, norm_tile, channel_blocks, projections, tiles, statistics };

  const KernelArgs& args;
  const TriangleExtents& s;
  int64_t batch;
  const TriangleMultiplyAttrs& attrs = args.as<TriangleMultiplyAttrs>();
  const TensorArg *in = args.in, *kept = args.out + 1;
  bool keeps = args.n_out > 1;
  int64_t row0 = batch * s.n;
  Matrix values[2] = {kept_or_spare(pa, 0), kept_or_spare(pb, 1)}, t_rows = kept_or_spare(t, 2);
  Matrix out = rows_of(args.out[0]).from_row(row0), gates_out = keeps ? rows_kept(g) : out;

  Matrix rows_kept(int k) const { return rows_of(kept[k]).from_row(row0); }
  Matrix kept_or_spare(int k, int64_t place) const {
    if (keeps) return rows_kept(k);
    return {element_at(args.workspace[projections], s.low, place * padded_elements(s.n * s.c)), s.low, s.c};
  }
  C* statistic(int k) const {
    return keeps ? reinterpret_cast<C*>(kept[k].data) + row0
                 : reinterpret_cast<C*>(args.workspace[statistics]) + (k - mean_in) * s.n;
  }
  std::byte* block(int k) const { return s.block(args.workspace[channel_blocks], k); }

  // a, b and the output's gate from the normalised rows of z.
  void project() const {
    NormRows<C> norm{NormKind::layer,    in[z],       in[ln_in_w], in[ln_in_b], statistic(mean_in),
                     statistic(rstd_in), C(attrs.eps)};
    norm.x.data = element_at(in[z].data, in[z].dtype, row0 * s.cz);
    const Matrix normed{args.workspace[norm_tile], s.low, s.cz};
    for (int64_t row = 0; row < s.n; row += s.tile) {
      const int64_t m = s.rows(row);
      norm_rows(args, norm, row, m, true, normed);
      multiply_by_weight<C>(args, m, normed, in[w_g], in[b_g], gates_out.from_row(row));
      for (int side = 0; side < 2; ++side) {
        const int w = side ? w_b : w_a, w_gate = triangle::gate_of(w);
        const Matrix value = values[side].from_row(row);
        const Matrix gate =
            keeps ? rows_kept(side ? pbg : pag).from_row(row) : Matrix{args.workspace[tiles], s.low, s.c};
        multiply_by_weight<C>(args, m, normed, in[w], in[triangle::bias_of(w)], value);
        multiply_by_weight<C>(args, m, normed, in[w_gate], in[triangle::bias_of(w_gate)], gate);
        if (!keeps) gate_rows<C>(args, m, s.c, value, gate, in[mask], row0 + row);
      }
    }
  }

  // t = a b^T (outgoing) or a^T b, channel by channel.
  void multiply() const {
    for (int64_t ch0 = 0; ch0 < s.c; ch0 += s.channels) {
      const int64_t nb = s.channels_from(ch0);
      for (int side = 0; side < 2; ++side) {
        const Matrix gate = keeps ? rows_kept(side ? pbg : pag) : Matrix{};
        gather_channels<C>(args, s.n, ch0, nb, values[side], keeps ? &gate : nullptr, in[mask], row0,
                           block(side), s.low);
      }
      multiply_channels<C>(args, s.r, nb, s.low, {block(0), !attrs.outgoing}, {block(1), attrs.outgoing},
                           block(2));
      scatter_channels<C>(args, s.n, ch0, nb, block(2), s.low, t_rows);
    }
  }

  // out = W_z LN(t) times the output's gate.
  void write() const {
    const TensorArg t_arg{t_rows.data, s.low, 2, {s.n, s.c}, {s.c, 1}};
    const NormRows<C> norm{NormKind::layer,     t_arg,       in[ln_out_w], in[ln_out_b], statistic(mean_out),
                           statistic(rstd_out), C(attrs.eps)};
    const Matrix normed{args.workspace[norm_tile], s.low, s.c};
    const int64_t behind_gates = padded_elements((s.n < s.tile ? s.n : s.tile) * s.c);
    for (int64_t row = 0; row < s.n; row += s.tile) {
      const int64_t m = s.rows(row);
      norm_rows(args, norm, row, m, true, normed);
      const Matrix o_rows =
          keeps ? rows_kept(o).from_row(row)
                : Matrix{element_at(args.workspace[tiles], s.low, behind_gates), s.low, s.c_out};
      multiply_by_weight<C>(args, m, normed, in[w_z], in[b_z], o_rows);
      map_rows<C, 2, 1>(args, m, s.c_out, {o_rows, gates_out.from_row(row)}, {out.from_row(row)}, 12,
                        [](const C* const* v, C* const* y, int64_t count) {
                          const C *ov = v[0], *gv = v[1];
                          C* to = y[0];
#pragma omp simd
                          for (int64_t k = 0; k < count; ++k) to[k] = ov[k] * k_sigmoid(gv[k]);
                        });
    }
  }
};

template <class C>
inline void triangle_multiply_kernel(KernelArgs& args) {
  const TriangleExtents s(args.in[triangle::z], args.in[triangle::w_a], args.in[triangle::w_z]);
  for (int64_t batch = 0, launches = 0; batch < s.batches; ++batch) {
    const TriangleForward<C> forward{args, s, batch};
    args.launch(static_cast<int>(launches++));
    forward.project();
    args.launch(static_cast<int>(launches++));
    forward.multiply();
    args.launch(static_cast<int>(launches++));
    forward.write();
  }
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(triangle_multiply)
