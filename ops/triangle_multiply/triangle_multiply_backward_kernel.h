// CPU kernel of triangle_multiply's gradients. Included by triangle_multiply.cpp, for f64 and for counting, and
// for f32 once per instruction set.
#pragma once

#include "ops/triangle_multiply/triangle_multiply_kernel.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// out: the wanted gradients of the forward inputs. Workspaces: products, norm tile, norm gradient tile,
// gradient tiles 1 and 2, dt rows (which become da rows), db rows, channel blocks.
template <class C>
inline void triangle_multiply_backward_kernel(KernelArgs& args) {
  using namespace triangle;
  const auto& attrs = args.as<TriangleMultiplyAttrs>();
  const auto in = [&](int k) -> const TensorArg& { return args.in[triangle_input(k)]; };
  const auto kept = [&](int k) -> const TensorArg& { return args.in[triangle_kept(k)]; };
  const TensorArg &dy = args.in[0], &zt = in(z), &mt = in(mask);
  const DType low = in(w_a).dtype;
  const int64_t batches = zt.shape[0], r = zt.shape[1], n = r * r, cz = zt.shape[3], c = in(w_a).shape[0],
                c_out = in(w_z).shape[0];
  const int64_t widest = cz > c ? (cz > c_out ? cz : c_out) : (c > c_out ? c : c_out),
                tile = rows_per_tile(widest, cz);
  GradientOutputs<C> outputs(args, attrs.needs);
  TensorArg dz = outputs.take(z);
  C* sums[n_inputs] = {};        // of vectors
  ProductSum weights[n_inputs];  // of matrices
  for (int k = ln_in_w; k < n_inputs; ++k) {
    if (is_matrix(k))
      weights[k] = outputs.take_product_sum(k);
    else
      sums[k] = outputs.take_sum(k);
  }
  const bool through_input = dz.defined() || sums[ln_in_w] || sums[ln_in_b];
  const bool rebuild = weights[w_a].wanted() || weights[w_ag].wanted() || weights[w_b].wanted() ||
                       weights[w_bg].wanted() || weights[w_g].wanted();
  const int64_t channels = c < triangle_channels(low) ? c : triangle_channels(low);
  std::byte* block[4];
  for (int64_t k = 0; k < 4; ++k)
    block[k] = element_at(args.workspace[7], low, k * padded_elements(channels * n));
  C* dn = reinterpret_cast<C*>(args.workspace[2]);
  const Matrix dt_rows{args.workspace[5], low, c}, db_rows{args.workspace[6], low, c};
  const TensorArg dt_arg{args.workspace[5], low, 2, {n, c}, {c, 1}};

  for (int64_t batch = 0; batch < batches; ++batch) {
    const int64_t row0 = batch * n;
    const auto rows_kept = [&](int k) { return rows_of(kept(k)).from_row(row0); };
    const auto statistic = [&](int k) { return reinterpret_cast<C*>(kept(k).data) + row0; };
    const Matrix dy_rows = rows_of(dy).from_row(row0);
    NormRows<C> norm_in{NormKind::layer,    zt,          in(ln_in_w), in(ln_in_b), statistic(mean_in),
                        statistic(rstd_in), C(attrs.eps)};
    norm_in.x.data = element_at(zt.data, zt.dtype, row0 * cz);
    NormRows<C> norm_out{NormKind::layer,     kept(t),     in(ln_out_w), in(ln_out_b), statistic(mean_out),
                         statistic(rstd_out), C(attrs.eps)};
    norm_out.x.data = rows_kept(t).data;
    TensorArg dz_rows = dz;
    if (dz.defined()) dz_rows.data = element_at(dz.data, dz.dtype, row0 * cz);

    args.launch(static_cast<int>(3 * batch));  // back to dt
    for (int64_t row = 0; row < n; row += tile) {
      const int64_t m = n - row < tile ? n - row : tile;
      const Matrix d_o{args.workspace[3], low, c_out}, normed{args.workspace[1], low, c};
      map_rows<C, 2, 1>(args, m, c_out, {dy_rows.from_row(row), rows_kept(g).from_row(row)}, {d_o}, 12,
                        [](const C* const* v, C* const* y, int64_t count) {
                          const C *dv = v[0], *gv = v[1];
                          C* to = y[0];
#pragma omp simd
                          for (int64_t k = 0; k < count; ++k) to[k] = dv[k] * k_sigmoid(gv[k]);
                        });
      if (weights[w_z].wanted()) {
        norm_rows(args, norm_out, row, m, false, normed);
        add_weight_gradient<C>(args, m, c_out, c, d_o, normed, weights[w_z]);
      }
      add_column_sums(args, m, c_out, d_o, sums[b_z]);
      multiply_back<C>(args, m, d_o, in(w_z), {args.workspace[2], kNative<C>, c}, false);
      norm_rows_backward(args, norm_out, row, m, dn, dt_arg, sums[ln_out_w], sums[ln_out_b]);
    }

    args.launch(static_cast<int>(3 * batch + 1));  // da and db, channel by channel
    for (int64_t ch0 = 0; ch0 < c; ch0 += channels) {
      const int64_t nb = c - ch0 < channels ? c - ch0 : channels;
      const Matrix gate_a = rows_kept(pag), gate_b = rows_kept(pbg);
      gather_channels<C>(args, n, ch0, nb, rows_kept(pa), &gate_a, mt, row0, block[0], low);
      gather_channels<C>(args, n, ch0, nb, rows_kept(pb), &gate_b, mt, row0, block[1], low);
      gather_channels<C>(args, n, ch0, nb, dt_rows, nullptr, mt, row0, block[2], low);
      // outgoing, t = a b^T: da = dt b, db = dt^T a. Incoming, t = a^T b: da = b dt^T, db = a dt.
      if (attrs.outgoing)
        multiply_channels<C>(args, r, nb, low, {block[2], false}, {block[1], false}, block[3]);
      else
        multiply_channels<C>(args, r, nb, low, {block[1], false}, {block[2], true}, block[3]);
      scatter_channels<C>(args, n, ch0, nb, block[3], low, dt_rows);  // dt's channels are no longer needed
      if (attrs.outgoing)
        multiply_channels<C>(args, r, nb, low, {block[2], true}, {block[0], false}, block[3]);
      else
        multiply_channels<C>(args, r, nb, low, {block[0], false}, {block[2], false}, block[3]);
      scatter_channels<C>(args, n, ch0, nb, block[3], low, db_rows);
    }

    args.launch(static_cast<int>(3 * batch + 2));  // back to z
    for (int64_t row = 0; row < n; row += tile) {
      const int64_t m = n - row < tile ? n - row : tile;
      const Matrix normed{args.workspace[1], low, cz}, dx{args.workspace[2], kNative<C>, cz};
      if (rebuild) norm_rows(args, norm_in, row, m, false, normed);
      bool started = false;
      const auto through = [&](Matrix d, int w, int64_t width) {
        add_weight_gradient<C>(args, m, width, cz, d, normed, weights[w]);
        add_column_sums(args, m, width, d, sums[w + 1]);
        if (through_input) multiply_back<C>(args, m, d, in(w), dx, started);
        started = true;
      };
      const Matrix d_gate{args.workspace[3], low, c_out};
      map_rows<C, 3, 1>(args, m, c_out,
                        {dy_rows.from_row(row), rows_kept(o).from_row(row), rows_kept(g).from_row(row)},
                        {d_gate}, 14, [](const C* const* v, C* const* y, int64_t count) {
                          const C *dv = v[0], *ov = v[1], *gv = v[2];
                          C* to = y[0];
#pragma omp simd
                          for (int64_t k = 0; k < count; ++k) {
                            const C s = k_sigmoid(gv[k]);
                            to[k] = dv[k] * ov[k] * (s * (C(1) - s));
                          }
                        });
      through(d_gate, w_g, c_out);
      for (int side = 0; side < 2; ++side) {
        const Matrix d = (side ? db_rows : dt_rows).from_row(row),
                     value = rows_kept(side ? pb : pa).from_row(row),
                     gate = rows_kept(side ? pbg : pag).from_row(row);
        const Matrix d_value{args.workspace[3], low, c}, d_gate_side{args.workspace[4], low, c};
        const int64_t first_position = row0 + row;
        parallel_ranges(args, m, 16 * c, [&](int64_t first, int64_t last) {
          alignas(64) C db[kTile], vb[kTile], gb[kTile], value_out[kTile], gate_out[kTile];
          for (int64_t i = first; i < last; ++i) {
            C cell;
            const C masked =
                mt.defined() ? *load_tile<C>(mt.data, mt.dtype, first_position + i, 1, 1, &cell) : C(1);
            for (int64_t j = 0; j < c; j += kTile) {
              const int64_t count = c - j < kTile ? c - j : kTile;
              const C* dv = load_tile<C>(d.data, low, i * c + j, 1, count, db);
              const C* v = load_tile<C>(value.data, low, i * c + j, 1, count, vb);
              const C* gv = load_tile<C>(gate.data, low, i * c + j, 1, count, gb);
              if (mt.defined()) {
                for (int64_t k = 0; k < count; ++k) db[k] = dv[k] * masked;
                dv = db;
              }
#pragma omp simd
              for (int64_t k = 0; k < count; ++k) {
                const C s = k_sigmoid(gv[k]);
                value_out[k] = dv[k] * s;
                gate_out[k] = value_out[k] * v[k] * (C(1) - s);
              }
              store_tile<C>(d_value.data, low, i * c + j, count, value_out);
              store_tile<C>(d_gate_side.data, low, i * c + j, count, gate_out);
            }
          }
        });
        through(d_value, side ? w_b : w_a, c);
        through(d_gate_side, side ? w_bg : w_ag, c);
      }
      if (through_input) norm_rows_backward(args, norm_in, row, m, dn, dz_rows, sums[ln_in_w], sums[ln_in_b]);
    }
  }
  for (const ProductSum& weight : weights) weight.finish();
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA
