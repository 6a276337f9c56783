// CPU kernel of triangle_multiply's gradients. Included by triangle_multiply.cpp, for f64 and for counting, and
// for f32 once per instruction set.
#pragma once

#include "ops/triangle_multiply/triangle_multiply_kernel.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// What the gradients of a whole call go to: the wanted ones of the forward inputs.
template <class C>
struct TriangleGradients {
  using enum triangle::Input;

  explicit TriangleGradients(KernelArgs& args) {
    GradientOutputs<C> outputs(args, args.as<TriangleMultiplyAttrs>().needs);
    dz = outputs.take(z);
    for (int k = ln_in_w; k < n_inputs; ++k) {
      if (triangle::is_matrix(k))
        weights[k] = outputs.take_product_sum(k);
      else
        sums[k] = outputs.take_sum(k);
    }
  }
  bool through_input() const { return dz.defined() || sums[ln_in_w] || sums[ln_in_b]; }
  // Whether a gradient reads the normalised rows of z.
  bool reads_norm() const {
    return weights[w_a].wanted() || weights[w_ag].wanted() || weights[w_b].wanted() || weights[w_bg].wanted() ||
           weights[w_g].wanted();
  }

  TensorArg dz;
  C* sums[n_inputs] = {};        // of vectors
  ProductSum weights[n_inputs];  // of matrices
};

// From the gradient of a gated side, rows of d: those of its value and of its gate.
template <class C>
inline void gate_rows_backward(const KernelArgs& args, int64_t m, int64_t c, Matrix d, Matrix value,
                               Matrix gate, const TensorArg& mask, int64_t first_position, Matrix d_value,
                               Matrix d_gate) {
  const DType low = value.dtype;
  parallel_ranges(args, m, 16 * c, [&](int64_t first, int64_t last) {
    alignas(64) C db[kTile], vb[kTile], gb[kTile], value_out[kTile], gate_out[kTile];
    for (int64_t i = first; i < last; ++i) {
      C cell;
      const C masked =
          mask.defined() ? *load_tile<C>(mask.data, mask.dtype, first_position + i, 1, 1, &cell) : C(1);
      for (int64_t j = 0; j < c; j += kTile) {
        const int64_t count = c - j < kTile ? c - j : kTile;
        const C* dv = load_tile<C>(d.data, low, i * c + j, 1, count, db);
        const C* v = load_tile<C>(value.data, low, i * c + j, 1, count, vb);
        const C* gv = load_tile<C>(gate.data, low, i * c + j, 1, count, gb);
        if (mask.defined()) {
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
        store_tile<C>(d_gate.data, low, i * c + j, count, gate_out);
      }
    }
  });
}

// The backward pass of one batch element, a method per launch.
template <class C>
struct TriangleBackward {
  using enum triangle::Input;
  using enum triangle::Kept;
  // dt: the gradient of the triangle, whose channels become those of a's.
  enum Space : int { product_space, norm_tile, dn_tile, gradient_1, gradient_2, dt, db, channel_blocks };

  const KernelArgs& args;
  const TriangleExtents& s;
  TriangleGradients<C>& to;
  int64_t batch;
  const TriangleMultiplyAttrs& attrs = args.as<TriangleMultiplyAttrs>();
  int64_t row0 = batch * s.n;
  Matrix dy = rows_of(args.in[kTriangleDout]).from_row(row0), dt_rows{args.workspace[dt], s.low, s.c},
         db_rows{args.workspace[db], s.low, s.c};
  C* dn = reinterpret_cast<C*>(args.workspace[dn_tile]);

  const TensorArg& in(int k) const { return args.in[triangle_input(k)]; }
  const TensorArg& kept(int k) const { return args.in[triangle_kept(k)]; }
  Matrix rows_kept(int k) const { return rows_of(kept(k)).from_row(row0); }
  C* statistic(int k) const { return reinterpret_cast<C*>(kept(k).data) + row0; }
  std::byte* block(int k) const { return s.block(args.workspace[channel_blocks], k); }

  // From dy to the gradient of the triangle.
  void to_triangle() const {
    NormRows<C> norm{NormKind::layer,     kept(t),     in(ln_out_w), in(ln_out_b), statistic(mean_out),
                     statistic(rstd_out), C(attrs.eps)};
    norm.x.data = rows_kept(t).data;
    const Matrix d_o{args.workspace[gradient_1], s.low, s.c_out}, normed{args.workspace[norm_tile], s.low, s.c};
    const TensorArg dt_arg{dt_rows.data, s.low, 2, {s.n, s.c}, {s.c, 1}};
    for (int64_t row = 0; row < s.n; row += s.tile) {
      const int64_t m = s.rows(row);
      map_rows<C, 2, 1>(args, m, s.c_out, {dy.from_row(row), rows_kept(g).from_row(row)}, {d_o}, 12,
                        [](const C* const* v, C* const* y, int64_t count) {
                          const C *dv = v[0], *gv = v[1];
                          C* to = y[0];
#pragma omp simd
                          for (int64_t k = 0; k < count; ++k) to[k] = dv[k] * k_sigmoid(gv[k]);
                        });
      if (to.weights[w_z].wanted()) {
        norm_rows(args, norm, row, m, false, normed);
        add_weight_gradient<C>(args, m, s.c_out, s.c, d_o, normed, to.weights[w_z]);
      }
      add_column_sums(args, m, s.c_out, d_o, to.sums[b_z]);
      multiply_back<C>(args, m, d_o, in(w_z), {args.workspace[dn_tile], kNative<C>, s.c}, false);
      norm_rows_backward(args, norm, row, m, dn, dt_arg, to.sums[ln_out_w], to.sums[ln_out_b]);
    }
  }

  // da and db, channel by channel. Outgoing, t = a b^T: da = dt b, db = dt^T a. Incoming, t
  // = a^T b: da = b dt^T, db = a dt.
  void to_sides() const {
    const Matrix gate_a = rows_kept(pag), gate_b = rows_kept(pbg);
    for (int64_t ch0 = 0; ch0 < s.c; ch0 += s.channels) {
      const int64_t nb = s.channels_from(ch0);
      gather_channels<C>(args, s.n, ch0, nb, rows_kept(pa), &gate_a, in(mask), row0, block(0), s.low);
      gather_channels<C>(args, s.n, ch0, nb, rows_kept(pb), &gate_b, in(mask), row0, block(1), s.low);
      gather_channels<C>(args, s.n, ch0, nb, dt_rows, nullptr, in(mask), row0, block(2), s.low);
      if (attrs.outgoing)
        multiply_channels<C>(args, s.r, nb, s.low, {block(2), false}, {block(1), false}, block(3));
      else
        multiply_channels<C>(args, s.r, nb, s.low, {block(1), false}, {block(2), true}, block(3));
      scatter_channels<C>(args, s.n, ch0, nb, block(3), s.low, dt_rows);  // dt's channels are no longer needed
      if (attrs.outgoing)
        multiply_channels<C>(args, s.r, nb, s.low, {block(2), true}, {block(0), false}, block(3));
      else
        multiply_channels<C>(args, s.r, nb, s.low, {block(0), false}, {block(2), false}, block(3));
      scatter_channels<C>(args, s.n, ch0, nb, block(3), s.low, db_rows);
    }
  }

  // From the gradients of the output's gate and of both sides to z.
  void to_input() const {
    NormRows<C> norm{NormKind::layer,    in(z),       in(ln_in_w), in(ln_in_b), statistic(mean_in),
                     statistic(rstd_in), C(attrs.eps)};
    norm.x.data = element_at(in(z).data, in(z).dtype, row0 * s.cz);
    TensorArg dz = to.dz;
    if (dz.defined()) dz.data = element_at(dz.data, dz.dtype, row0 * s.cz);
    const bool through_input = to.through_input(), reads_norm = to.reads_norm();
    const Matrix normed{args.workspace[norm_tile], s.low, s.cz}, dx{args.workspace[dn_tile], kNative<C>, s.cz};
    for (int64_t row = 0; row < s.n; row += s.tile) {
      const int64_t m = s.rows(row);
      if (reads_norm) norm_rows(args, norm, row, m, false, normed);
      bool started = false;
      const auto through = [&](Matrix d, int w, int64_t width) {
        add_weight_gradient<C>(args, m, width, s.cz, d, normed, to.weights[w]);
        add_column_sums(args, m, width, d, to.sums[triangle::bias_of(w)]);
        if (through_input) multiply_back<C>(args, m, d, in(w), dx, started);
        started = true;
      };
      const Matrix d_gate{args.workspace[gradient_1], s.low, s.c_out};
      map_rows<C, 3, 1>(args, m, s.c_out,
                        {dy.from_row(row), rows_kept(o).from_row(row), rows_kept(g).from_row(row)}, {d_gate},
                        14, [](const C* const* v, C* const* y, int64_t count) {
                          const C *dv = v[0], *ov = v[1], *gv = v[2];
                          C* to = y[0];
#pragma omp simd
                          for (int64_t k = 0; k < count; ++k) {
                            const C s = k_sigmoid(gv[k]);
                            to[k] = dv[k] * ov[k] * (s * (C(1) - s));
                          }
                        });
      through(d_gate, w_g, s.c_out);
      for (int side = 0; side < 2; ++side) {
        const Matrix d_value{args.workspace[gradient_1], s.low, s.c},
            d_gate_side{args.workspace[gradient_2], s.low, s.c};
        gate_rows_backward<C>(
            args, m, s.c, (side ? db_rows : dt_rows).from_row(row), rows_kept(side ? pb : pa).from_row(row),
            rows_kept(side ? pbg : pag).from_row(row), in(mask), row0 + row, d_value, d_gate_side);
        const int w = side ? w_b : w_a;
        through(d_value, w, s.c);
        through(d_gate_side, triangle::gate_of(w), s.c);
      }
      if (through_input) norm_rows_backward(args, norm, row, m, dn, dz, to.sums[ln_in_w], to.sums[ln_in_b]);
    }
  }
};

template <class C>
inline void triangle_multiply_backward_kernel(KernelArgs& args) {
  const auto in = [&](int k) -> const TensorArg& { return args.in[triangle_input(k)]; };
  const TriangleExtents s(in(triangle::z), in(triangle::w_a), in(triangle::w_z));
  TriangleGradients<C> gradients(args);
  for (int64_t batch = 0, launches = 0; batch < s.batches; ++batch) {
    const TriangleBackward<C> backward{args, s, gradients, batch};
    args.launch(static_cast<int>(launches++));
    backward.to_triangle();
    args.launch(static_cast<int>(launches++));
    backward.to_sides();
    args.launch(static_cast<int>(launches++));
    backward.to_input();
  }
  for (const ProductSum& weight : gradients.weights) weight.finish();
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(triangle_multiply_backward)
