// CPU kernels of outer_product_mean and its gradients, in both orders of the products. Included by
// outer_product_mean.cpp, for f64 and for counting, and for f32 once per instruction set.
#pragma once

#include "ops/kernel/cpu/row_tiles.h"
#include "ops/outer_product_mean/outer_product_mean_attrs.h"

namespace reckon::ops::RECKON_ISA {
namespace {

RECKON_INLINE OuterSizes outer_sizes(const TensorArg& a, const TensorArg& weight) {
  return {a.shape[0], a.shape[1], a.shape[2], a.shape[3], weight.shape[0]};
}

// 1 / (eps + count) or 1 / max(count, 1) of pair (i, j). Counts lie in a tile
// [mi, R] or, without a mask, are S.
template <class C>
struct PairScale {
  OuterNormalize normalize;
  C eps, all;
  const C* counts;
  int64_t r;

  RECKON_INLINE C of(int64_t i, int64_t j) const {
    const C count = counts ? counts[i * r + j] : all;
    return C(1) / (normalize == OuterNormalize::divide_after ? eps + count : k_max(C(1), count));
  }
};

// counts[mi, R] of rows i0.. from mask [S, R] of one batch element.
template <class C>
inline void count_pairs(const KernelArgs& args, const TensorArg& mask, const OuterSizes& n, int64_t batch,
                        int64_t i0, int64_t mi, C* counts) {
  std::byte* base = element_at(mask.data, mask.dtype, batch * n.s * n.r);
  product<C>(args, {.m = mi,
                    .n = n.r,
                    .k = n.s,
                    .a = {element_at(base, mask.dtype, i0), mask.dtype, 1, n.r},
                    .b = {base, mask.dtype, n.r, 1},
                    .c = counts,
                    .c_dtype = kNative<C>,
                    .c_row_stride = n.r,
                    .c_col_stride = 1});
}

// f(pointer to unsigned integers as wide as `t`): for copies that keep the bits.
template <class F>
RECKON_INLINE void with_bits(DType t, F f) {
  switch (size_of(t)) {
    case 2:
      return f(static_cast<uint16_t*>(nullptr));
    case 4:
      return f(static_cast<uint32_t*>(nullptr));
    default:
      return f(static_cast<uint64_t*>(nullptr));
  }
}

// to[p][z][q] = weight[z][p][q]: the weight as U = a W needs it.
inline void permute_weight(const KernelArgs& args, const TensorArg& weight, const OuterSizes& n,
                           std::byte* to) {
  with_bits(weight.dtype, [&](auto* bits) {
    const auto* in = reinterpret_cast<decltype(bits)>(weight.data);
    auto* out = reinterpret_cast<decltype(bits)>(to);
    parallel_ranges(args, n.c, n.cz * n.c, [&](int64_t first, int64_t last) {
      for (int64_t p = first; p < last; ++p)
        for (int64_t z = 0; z < n.cz; ++z)
          for (int64_t q = 0; q < n.c; ++q) out[(p * n.cz + z) * n.c + q] = in[(z * n.c + p) * n.c + q];
    });
  });
}

// o[j][i][p][q] = sum over s of a[s, i0 + i, p] b[s, j0 + j, q]: for each j a product [mi c, S] x [S, c].
template <class C>
inline void outer_tile(const KernelArgs& args, const OuterSizes& n, Matrix a, Matrix b, int64_t i0, int64_t mi,
                       int64_t j0, int64_t mj, Matrix o) {
  const GemmProblem p{.m = mi * n.c,
                      .n = n.c,
                      .k = n.s,
                      .a = {element_at(a.data, a.dtype, i0 * n.c), a.dtype, 1, n.r * n.c},
                      .b = {element_at(b.data, b.dtype, j0 * n.c), b.dtype, n.r * n.c, 1},
                      .c = o.data,
                      .c_dtype = o.dtype,
                      .c_row_stride = n.c,
                      .c_col_stride = 1};
  products<C>(args, p, {.rank = 2, .size = {1, mj}, .b_stride = {0, n.c}, .c_stride = {0, mi * n.c * n.c}});
}

// u[s][i][z][q] = sum over p of a[s, i0 + i, p] wt[p][z][q].
template <class C>
inline void project_rows(const KernelArgs& args, const OuterSizes& n, Matrix a, Matrix wt, int64_t i0,
                         int64_t mi, Matrix u) {
  const int64_t width = n.cz * n.c;
  const GemmProblem p{.m = mi,
                      .n = width,
                      .k = n.c,
                      .a = {element_at(a.data, a.dtype, i0 * n.c), a.dtype, n.c, 1},
                      .b = {wt.data, wt.dtype, width, 1},
                      .c = u.data,
                      .c_dtype = u.dtype,
                      .c_row_stride = width,
                      .c_col_stride = 1};
  products<C>(args, p, {.rank = 2, .size = {1, n.s}, .a_stride = {0, n.r * n.c}, .c_stride = {0, mi * width}});
}

// One batch element of a [B, S, R, c] tensor; rows are (s, r).
RECKON_INLINE Matrix batch_of(const TensorArg& t, const OuterSizes& n, int64_t batch) {
  return {element_at(t.data, t.dtype, batch * n.s * n.r * n.c), t.dtype, n.c};
}

// in a, b, weight, bias, mask; out [B, R, R, cz].
template <class C>
inline void outer_product_mean_kernel(KernelArgs& args) {
  args.launch(0);
  // tile: of the outer product or of U.
  enum Space : int { product_space, tile_space, projected_tile, permuted_weight, pair_counts };
  const auto& attrs = args.as<OuterProductMeanAttrs>();
  using In = OuterProductMeanInput;
  const TensorArg &weight = args.in[In::weight], &bias = args.in[In::bias], &mask = args.in[In::mask],
                  &out = args.out[0];
  const OuterSizes n = outer_sizes(args.in[In::a], weight);
  const OuterTiles t = outer_tiles(n, false);
  const bool divides = attrs.normalize != OuterNormalize::none, counts = divides && mask.defined();
  const DType low = weight.dtype;
  const PairScale<C> scale{attrs.normalize, C(attrs.eps), C(n.s),
                           counts ? reinterpret_cast<C*>(args.workspace[pair_counts]) : nullptr, n.r};
  C* projected = reinterpret_cast<C*>(args.workspace[projected_tile]);
  const Matrix tile{args.workspace[tile_space], low, n.c * n.c},
      wt{args.workspace[permuted_weight], low, n.cz * n.c};
  if (t.project_first) permute_weight(args, weight, n, wt.data);

  for (int64_t batch = 0; batch < n.batch; ++batch) {
    const Matrix a = batch_of(args.in[In::a], n, batch), b = batch_of(args.in[In::b], n, batch);
    for (int64_t i0 = 0; i0 < n.r; i0 += t.ti) {
      const int64_t mi = n.r - i0 < t.ti ? n.r - i0 : t.ti;
      if (counts)
        count_pairs<C>(args, mask, n, batch, i0, mi, reinterpret_cast<C*>(args.workspace[pair_counts]));
      if (t.project_first) project_rows<C>(args, n, a, wt, i0, mi, tile);
      for (int64_t j0 = 0; j0 < n.r; j0 += t.tj) {
        const int64_t mj = n.r - j0 < t.tj ? n.r - j0 : t.tj;
        int64_t step_i, step_j;
        if (t.project_first) {
          step_i = mj * n.cz, step_j = n.cz;
          for (int64_t s = 0; s < n.s; ++s) {
            const GemmProblem p{.m = mj,
                                .n = n.cz,
                                .k = n.c,
                                .a = {element_at(b.data, b.dtype, (s * n.r + j0) * n.c), b.dtype, n.c, 1},
                                .b = {element_at(tile.data, low, s * mi * n.cz * n.c), low, 1, n.c},
                                .c = projected,
                                .c_dtype = kNative<C>,
                                .c_row_stride = n.cz,
                                .c_col_stride = 1,
                                .accumulate = s > 0};
            products<C>(args, p,
                        {.rank = 2, .size = {1, mi}, .b_stride = {0, n.cz * n.c}, .c_stride = {0, step_i}});
          }
        } else {
          step_i = n.cz, step_j = mi * n.cz;
          outer_tile<C>(args, n, a, b, i0, mi, j0, mj, tile);
          multiply_by_weight<C>(args, mj * mi, tile, weight, {},
                                {args.workspace[projected_tile], kNative<C>, n.cz});
        }
        parallel_ranges(args, mi * mj, n.cz * 2, [&](int64_t first, int64_t last) {
          alignas(64) C bias_buffer[kTile], y[kTile];
          for (int64_t pair = first; pair < last; ++pair) {
            const int64_t i = pair / mj, j = pair % mj;
            const C* v = projected + i * step_i + j * step_j;
            const C f = divides ? scale.of(i, j0 + j) : C(1);
            const bool before = attrs.normalize == OuterNormalize::divide_before;
            for (int64_t z = 0; z < n.cz; z += kTile) {
              const int64_t m = n.cz - z < kTile ? n.cz - z : kTile;
              for (int64_t k = 0; k < m; ++k) y[k] = v[z + k];
              if (before)
                for (int64_t k = 0; k < m; ++k) y[k] = y[k] * f;
              if (bias.defined()) {
                const C* plus = load_tile<C>(bias.data, bias.dtype, z, 1, m, bias_buffer);
                for (int64_t k = 0; k < m; ++k) y[k] += plus[k];
              }
              if (divides && !before)
                for (int64_t k = 0; k < m; ++k) y[k] = y[k] * f;
              store_tile<C>(out.data, out.dtype, ((batch * n.r + i0 + i) * n.r + j0 + j) * n.cz + z, m, y);
            }
          }
        });
      }
    }
  }
}

// Backward: what both orders share.
// in dy, a, b, weight, mask; out the wanted ones of da, db, dweight, dbias.
template <class C>
struct OuterBackward {
  using Forward = OuterProductMeanInput;
  // first_sums: of a tile of da, or of dW permuted.
  enum Space : int {
    product_space,
    gradient_tile_space,
    first_tile,
    second_tile,
    permuted_weight,
    first_sums,
    db_sums,
    pair_counts
  };
  KernelArgs& args;
  const OuterProductMeanAttrs& attrs;
  OuterSizes n;
  OuterTiles t;
  TensorArg dy, weight, mask, da, db;
  C *dw = nullptr, *dbias = nullptr;  // sums
  DType low;

  bool needs(int i) const { return (attrs.needs >> i) & 1u; }
  std::byte* space(int i) const { return args.workspace[i]; }
  C* sums(int i) const { return reinterpret_cast<C*>(args.workspace[i]); }

  // g[i, j, z] = dy scaled, at i step_i + j step_j + z of the gradient tile; adds what the bias sees.
  void gradient_tile(int64_t batch, int64_t i0, int64_t mi, int64_t j0, int64_t mj, int64_t step_i,
                     int64_t step_j) const {
    const bool divides = attrs.normalize != OuterNormalize::none;
    const PairScale<C> scale{attrs.normalize, C(attrs.eps), C(n.s),
                             divides && mask.defined() ? sums(pair_counts) : nullptr, n.r};
    parallel_ranges(args, mi * mj, n.cz * 2, [&](int64_t first, int64_t last) {
      alignas(64) C in[kTile], g[kTile];
      for (int64_t pair = first; pair < last; ++pair) {
        const int64_t i = pair / mj, j = pair % mj;
        const C f = divides ? scale.of(i, j0 + j) : C(1);
        for (int64_t z = 0; z < n.cz; z += kTile) {
          const int64_t m = n.cz - z < kTile ? n.cz - z : kTile;
          const C* v =
              load_tile<C>(dy.data, dy.dtype, ((batch * n.r + i0 + i) * n.r + j0 + j) * n.cz + z, 1, m, in);
          if (divides) {
            for (int64_t k = 0; k < m; ++k) g[k] = v[k] * f;
            v = g;
          }
          store_tile<C>(space(gradient_tile_space), low, i * step_i + j * step_j + z, m, v);
        }
      }
    });
    if (attrs.normalize == OuterNormalize::divide_after)
      add_column_sums(args, mi * mj, n.cz, {space(gradient_tile_space), low, n.cz}, dbias);
  }

  C* db_of(int64_t batch) const {
    return db.dtype == kNative<C> ? reinterpret_cast<C*>(db.data) + batch * n.s * n.r * n.c : sums(db_sums);
  }
  void finish_db(int64_t batch) const {
    if (db.defined() && db.dtype != kNative<C>)
      store_tile<C>(db.data, db.dtype, batch * n.s * n.r * n.c, n.s * n.r * n.c, sums(db_sums));
  }

  void outer_first(int64_t batch, Matrix a, Matrix b) const {
    const int64_t c = n.c, cc = n.c * n.c, row = n.r * n.c;
    const Matrix g{space(gradient_tile_space), low, n.cz}, tile{space(first_tile), low, cc};
    for (int64_t i0 = 0; i0 < n.r; i0 += t.ti) {
      const int64_t mi = n.r - i0 < t.ti ? n.r - i0 : t.ti;
      if (mask.defined() && attrs.normalize != OuterNormalize::none)
        count_pairs<C>(args, mask, n, batch, i0, mi, sums(pair_counts));
      for (int64_t j0 = 0; j0 < n.r; j0 += t.tj) {
        const int64_t mj = n.r - j0 < t.tj ? n.r - j0 : t.tj;
        gradient_tile(batch, i0, mi, j0, mj, n.cz, mi * n.cz);
        if (dw) {
          outer_tile<C>(args, n, a, b, i0, mi, j0, mj, tile);
          weight_gradient<C>(args, mj * mi, n.cz, cc, g, tile, reinterpret_cast<std::byte*>(dw), kNative<C>,
                             true);
        }
        if (!needs(Forward::a) && !needs(Forward::b)) continue;
        multiply_back<C>(args, mj * mi, g, weight, tile, false);  // d outer product, [j][i][p][q]
        if (needs(Forward::b)) {
          const GemmProblem p{.m = n.s,
                              .n = c,
                              .k = mi * c,
                              .a = {element_at(a.data, a.dtype, i0 * c), a.dtype, row, 1},
                              .b = {tile.data, low, c, 1},
                              .c = db_of(batch) + j0 * c,
                              .c_dtype = kNative<C>,
                              .c_row_stride = row,
                              .c_col_stride = 1,
                              .accumulate = i0 > 0};
          products<C>(args, p, {.rank = 2, .size = {1, mj}, .b_stride = {0, mi * cc}, .c_stride = {0, c}});
        }
        if (needs(Forward::a)) {
          // As [i][p][j][q], so that the sum over (j, q) is one product.
          with_bits(low, [&](auto* bits) {
            const auto* from = reinterpret_cast<decltype(bits)>(tile.data);
            auto* to = reinterpret_cast<decltype(bits)>(space(second_tile));
            parallel_ranges(args, mi * c, mj * c, [&](int64_t first, int64_t last) {
              for (int64_t ip = first; ip < last; ++ip)
                for (int64_t j = 0; j < mj; ++j)
                  for (int64_t q = 0; q < c; ++q) to[(ip * mj + j) * c + q] = from[(j * mi * c + ip) * c + q];
            });
          });
          product<C>(args, {.m = n.s,
                            .n = mi * c,
                            .k = mj * c,
                            .a = {element_at(b.data, b.dtype, j0 * c), b.dtype, row, 1},
                            .b = {space(second_tile), low, 1, mj * c},
                            .c = sums(first_sums),
                            .c_dtype = kNative<C>,
                            .c_row_stride = mi * c,
                            .c_col_stride = 1,
                            .accumulate = j0 > 0});
        }
      }
      if (needs(Forward::a))
        for (int64_t s = 0; s < n.s; ++s)
          store_tile<C>(da.data, da.dtype, ((batch * n.s + s) * n.r + i0) * c, mi * c,
                        sums(first_sums) + s * mi * c);
    }
  }

  void project_first(int64_t batch, Matrix a, Matrix b) const {
    const int64_t c = n.c, width = n.cz * n.c, row = n.r * n.c;
    const Matrix u{space(first_tile), low, width}, du{space(second_tile), low, width},
        wt{space(permuted_weight), low, width};
    for (int64_t i0 = 0; i0 < n.r; i0 += t.ti) {
      const int64_t mi = n.r - i0 < t.ti ? n.r - i0 : t.ti;
      if (mask.defined() && attrs.normalize != OuterNormalize::none)
        count_pairs<C>(args, mask, n, batch, i0, mi, sums(pair_counts));
      gradient_tile(batch, i0, mi, 0, n.r, n.r * n.cz, n.cz);
      if (needs(Forward::b)) {
        project_rows<C>(args, n, a, wt, i0, mi, u);
        for (int64_t i = 0; i < mi; ++i) {
          const GemmProblem p{.m = n.r,
                              .n = c,
                              .k = n.cz,
                              .a = {element_at(space(gradient_tile_space), low, i * n.r * n.cz), low, n.cz, 1},
                              .b = {element_at(u.data, low, i * width), low, c, 1},
                              .c = db_of(batch),
                              .c_dtype = kNative<C>,
                              .c_row_stride = c,
                              .c_col_stride = 1,
                              .accumulate = i0 + i > 0};
          products<C>(args, p,
                      {.rank = 2, .size = {1, n.s}, .b_stride = {0, mi * width}, .c_stride = {0, row}});
        }
      }
      if (!needs(Forward::a) && !needs(Forward::weight)) continue;
      const GemmProblem p{.m = n.cz,
                          .n = c,
                          .k = n.r,
                          .a = {space(gradient_tile_space), low, 1, n.cz},
                          .b = {b.data, b.dtype, c, 1},
                          .c = du.data,
                          .c_dtype = low,
                          .c_row_stride = c,
                          .c_col_stride = 1};
      products<C>(args, p,
                  {.rank = 2,
                   .size = {n.s, mi},
                   .a_stride = {0, n.r * n.cz},
                   .b_stride = {row, 0},
                   .c_stride = {mi * width, width}});
      if (needs(Forward::a)) {
        const GemmProblem q{.m = mi,
                            .n = c,
                            .k = width,
                            .a = {du.data, low, width, 1},
                            .b = {wt.data, low, 1, width},
                            .c = element_at(da.data, da.dtype, (batch * n.s * n.r + i0) * c),
                            .c_dtype = da.dtype,
                            .c_row_stride = c,
                            .c_col_stride = 1};
        products<C>(args, q, {.rank = 2, .size = {1, n.s}, .a_stride = {0, mi * width}, .c_stride = {0, row}});
      }
      if (needs(Forward::weight))
        for (int64_t s = 0; s < n.s; ++s)
          weight_gradient<C>(args, mi, c, width, {element_at(a.data, a.dtype, (s * n.r + i0) * c), a.dtype, c},
                             {element_at(du.data, low, s * mi * width), low, width},
                             reinterpret_cast<std::byte*>(sums(first_sums)), kNative<C>, true);
    }
  }
};

template <class C>
inline void outer_product_mean_backward_kernel(KernelArgs& args) {
  args.launch(0);
  const auto& attrs = args.as<OuterProductMeanAttrs>();
  using In = OuterProductMeanBackwardInput;
  using Forward = OuterProductMeanInput;
  const TensorArg &dy = args.in[In::dout], &weight = args.in[In::weight];
  const OuterSizes n = outer_sizes(args.in[In::a], weight);
  OuterBackward<C> k{args, attrs,   n,       outer_tiles(n, true), dy, weight, args.in[In::mask], {},
                     {},   nullptr, nullptr, weight.dtype};
  GradientOutputs<C> outputs(args, attrs.needs);
  k.da = outputs.take(Forward::a);
  k.db = outputs.take(Forward::b);
  const bool project = k.t.project_first;
  TensorArg dw_out;
  if (project) {
    dw_out = outputs.take(Forward::weight);
    permute_weight(args, k.weight, n, k.space(k.permuted_weight));
    if (dw_out.defined())
      for (int64_t i = 0; i < n.c * n.cz * n.c; ++i) k.sums(k.first_sums)[i] = C(0);
  } else {
    k.dw = outputs.take_sum(Forward::weight);
  }
  k.dbias = outputs.take_sum(Forward::bias);
  if (attrs.normalize != OuterNormalize::divide_after)
    add_column_sums(args, n.batch * n.r * n.r, n.cz, {k.dy.data, k.dy.dtype, n.cz}, k.dbias);
  for (int64_t batch = 0; batch < n.batch; ++batch) {
    const Matrix a = batch_of(args.in[In::a], n, batch), b = batch_of(args.in[In::b], n, batch);
    if (project)
      k.project_first(batch, a, b);
    else
      k.outer_first(batch, a, b);
    k.finish_db(batch);
  }
  if (dw_out.defined())
    for (int64_t z = 0; z < n.cz; ++z)
      for (int64_t p = 0; p < n.c; ++p)
        store_tile<C>(dw_out.data, dw_out.dtype, (z * n.c + p) * n.c, n.c,
                      k.sums(k.first_sums) + (p * n.cz + z) * n.c);
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(outer_product_mean)
RECKON_KERNEL(outer_product_mean_backward)
