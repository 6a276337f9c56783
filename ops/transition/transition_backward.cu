// The transitions' gradients, for rows and outputs of up to kTileColumns columns, in three launches: dx and the norm's
// parameters tile by tile of rows (here), the weights' and biases' gradients (transition_weights.cu), the sums of the pieces.
#include "ops/kernel/launch.cuh"
#include "ops/transition/transition.cuh"

namespace reckon::ops::gpu {
namespace {

template <class T, bool kGated, int MT, int NT>
struct RowsSpace {
  using Norm = NormGradient<MT, NT>;
  static constexpr int kStep = kHiddenStep<T>, kStages = sizeof(T) == 2 ? 2 : 1, kRowOfStep = tile_row<T>(kStep), kRowOfW = tile_row<T>(8 * NT);
  static constexpr int kOwn = sizeof(T) == 2 ? 0 : 16 * MT * kRowOfStep;
  int row_of_dy, out_stage, stage;  // elements

  RECKON_INLINE constexpr explicit RowsSpace(int out)
      : row_of_dy(tile_row<T>(whole_steps(out))), out_stage(whole_steps(out) * kRowOfStep), stage(out_stage + (kGated ? 2 : 1) * kStep * kRowOfW) {}
  RECKON_INLINE constexpr int elements() const { return kTileRows * row_of_dy + kStages * stage + Norm::kWarps * kOwn; }
  RECKON_INLINE constexpr int floats_over() const {
    const int product = elements() * static_cast<int>(sizeof(T)) / 4;
    return product > Norm::kNormalised ? product : Norm::kNormalised;
  }
  RECKON_INLINE constexpr size_t bytes() const { return 4 * static_cast<size_t>(floats_over() + Norm::kKept); }
};

// dn = da W_a (+ db W_b) over the hidden units, da and db from dp = dy W_out, then through the norm. A warp holds 16 MT whole
// rows of up to 8 NT columns. Shared memory: dy [128, out] and stages of the weights of kStep hidden units (f32: also each
// warp's da), overlaid by the normalised rows; what NormGradient keeps.
template <class T, bool kGated, int MT, int NT>
__global__ void __launch_bounds__(NormGradient<MT, NT>::kThreads, MT)
    transition_rows(NormInput n, TransitionBackward p, Elements dx, float* partial, int64_t tiles_per_piece, bool fours) {
  using Space = RowsSpace<T, kGated, MT, NT>;
  constexpr int kThreads = NormGradient<MT, NT>::kThreads, kStep = Space::kStep, kStages = Space::kStages, kRowOfW = Space::kRowOfW;
  RECKON_DYNAMIC_SHARED(T, dy);
  const Space space(p.out);
  T* const stages = dy + kTileRows * space.row_of_dy;
  float* const floats = reinterpret_cast<float*>(dy);
  const NormGradient<MT, NT> norm(n, floats, floats + space.floats_over());
  const int warp = threadIdx.x / 32, out = whole_steps(p.out);
  T* const own = stages + kStages * space.stage + warp * Space::kOwn;

  const auto issue = [&](int h0) {
    T* to = stages + h0 / kStep % kStages * space.stage;
    copy_tile<kThreads>(to, Space::kRowOfStep, out, kStep, static_cast<const T*>(p.w_out) + h0, p.h, p.out, p.h - h0, p.out_vectors);
    to += space.out_stage;
    copy_tile<kThreads>(to, kRowOfW, kStep, 8 * NT, static_cast<const T*>(p.w_a) + int64_t{h0} * n.c, n.c, p.h - h0, n.c, p.in_vectors);
    if constexpr (kGated)
      copy_tile<kThreads>(to + kStep * kRowOfW, kRowOfW, kStep, 8 * NT, static_cast<const T*>(p.w_b) + int64_t{h0} * n.c, n.c, p.h - h0, n.c,
                          p.in_vectors);
  };
  for (int64_t i = 0; i < tiles_per_piece; ++i) {
    const int64_t row0 = (blockIdx.x * tiles_per_piece + i) * kTileRows, warp_row = row0 + 16 * MT * warp;
    if (row0 >= n.rows) break;
    const int rows_left = n.rows - row0 < kTileRows ? static_cast<int>(n.rows - row0) : kTileRows;
    copy_tile<kThreads>(dy, space.row_of_dy, kTileRows, out, static_cast<const T*>(p.dy) + row0 * p.out, p.out, rows_left, p.out, p.dy_vectors);
    if (p.h > 0) issue(0);
    float dn[MT][NT][4];
    clear(dn);
    for (int h0 = 0; h0 < p.h; h0 += kStep) {
      // The kept values of this step, on their way while the first product runs.
      float2 a[MT][kStep / 8][2], b[kGated ? MT : 1][kStep / 8][2];
      const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
      for (int m = 0; m < MT; ++m)
#pragma unroll
        for (int j = 0; j < kStep / 8; ++j)
#pragma unroll
          for (int h = 0; h < 2; ++h) {
            const int64_t row = warp_row + 16 * m + 8 * h + g;
            const int unit = h0 + 8 * j + 2 * t;
            const bool inside = row < n.rows && unit < p.h;
            a[m][j][h] = inside ? load_pair(static_cast<const T*>(p.a) + row * p.h + unit, p.pairs, unit + 1 < p.h) : make_float2(0.0f, 0.0f);
            if constexpr (kGated)
              b[m][j][h] = inside ? load_pair(static_cast<const T*>(p.b) + row * p.h + unit, p.pairs, unit + 1 < p.h) : make_float2(0.0f, 0.0f);
          }
      copy_async_wait();
      __syncthreads();
      if (kStages == 2 && h0 + kStep < p.h) issue(h0 + kStep);
      const T* w = stages + h0 / kStep % kStages * space.stage;
      float da[MT][kStep / 8][4];
      clear(da);
      multiply<Along::k, Along::rows>(da, dy + 16 * MT * warp * space.row_of_dy, space.row_of_dy, w, Space::kRowOfStep, out);
      w += space.out_stage;
      if constexpr (kGated) {
        float db[MT][kStep / 8][4];
#pragma unroll
        for (int m = 0; m < MT; ++m)
#pragma unroll
          for (int j = 0; j < kStep / 8; ++j)
#pragma unroll
            for (int h = 0; h < 2; ++h) {
              float gated;
              gate_gradient<T>(da[m][j][2 * h], a[m][j][h].x, b[m][j][h].x, da[m][j][2 * h], db[m][j][2 * h], gated);
              gate_gradient<T>(da[m][j][2 * h + 1], a[m][j][h].y, b[m][j][h].y, da[m][j][2 * h + 1], db[m][j][2 * h + 1], gated);
            }
        multiply_values<Along::rows>(dn, da, w, kRowOfW, own);
        multiply_values<Along::rows>(dn, db, w + kStep * kRowOfW, kRowOfW, own);
      } else {
#pragma unroll
        for (int m = 0; m < MT; ++m)
#pragma unroll
          for (int j = 0; j < kStep / 8; ++j)
#pragma unroll
            for (int h = 0; h < 2; ++h) {
              if (!(a[m][j][h].x > 0)) da[m][j][2 * h] = 0;
              if (!(a[m][j][h].y > 0)) da[m][j][2 * h + 1] = 0;
            }
        multiply_values<Along::rows>(dn, da, w, kRowOfW, own);
      }
      if constexpr (kStages == 1) {
        __syncthreads();
        if (h0 + kStep < p.h) issue(h0 + kStep);
      }
    }
    norm.finish(dn, n, row0);
    if (dx) store_rows(dn, dx, warp_row, n.rows, n.c, fours);
    __syncthreads();
  }
  if (partial) norm.store_totals(n.c, partial + blockIdx.x * 2 * n.c);
}

template <class T, bool kGated>
void rows(KernelArgs& a, int index, const NormInput& n, const TransitionBackward& p, const TensorArg* dx, float* partial) {
  const RowPieces pieces(n.rows);
  const auto run = [&](auto kernel, int threads, size_t bytes) {
    launch(a, index, kernel, blocks_for(pieces.pieces, 1), threads, bytes, n, p, dx ? elements(*dx) : Elements{}, partial, pieces.tiles_per_piece,
           dx && takes_fours(*dx, n.c));
  };
  if (n.c <= 128) run(transition_rows<T, kGated, 2, 16>, 128, RowsSpace<T, kGated, 2, 16>(p.out).bytes());
  else run(transition_rows<T, kGated, 1, 32>, 256, RowsSpace<T, kGated, 1, 32>(p.out).bytes());
}

// relu: in dy, x, ln weight, ln bias, mean, rstd, hidden, w1, w2. Gated: in dy, x, ln weight, ln bias, mean, rstd, a, b, w_a,
// w_b, w_o. out the wanted gradients of the forward inputs. Launches: of rows, weights and sums those with something to do.
void transition_backward_gpu(KernelArgs& a, bool gated) {
  const auto& attrs = a.as<TransitionAttrs>();
  const TensorArg &dy = a.in[0], &x = a.in[1], &kept_a = a.in[6], &kept_b = a.in[gated ? 7 : 6];
  const TensorArg &w_a = a.in[gated ? 8 : 7], &w_b = a.in[gated ? 9 : 7], &w_out = a.in[gated ? 10 : 8];
  const int64_t h = w_a.shape[0], out = w_out.shape[0];
  if (!transition_fused(x.last(), out)) return transition_backward_through_library(a, gated);
  const uint32_t needs = attrs.needs;
  const NormInput n = norm_input(x, a.in[2], a.in[3], NormKind::layer, attrs.eps, a.in[4].as<float>(), a.in[5].as<float>());
  const auto pairs = [&](const TensorArg& t) { return h % 2 == 0 && reinterpret_cast<uintptr_t>(t.data) % 8 == 0; };
  const TransitionBackward p{dy.data, kept_a.data, kept_b.data, w_a.data, w_b.data, w_out.data, static_cast<int>(h), static_cast<int>(out),
                             takes_vectors(dy), takes_vectors(w_a) && takes_vectors(w_b), takes_vectors(w_out), pairs(kept_a) && pairs(kept_b)};
  const TransitionSums where(needs, {gated, n.rows, n.c, h, out});
  const bool norm_sums = (needs & 6u) != 0;
  float* const row_sums = norm_sums ? reinterpret_cast<float*>(a.workspace[0]) : nullptr;
  float* const weight_sums = where.floats > 0 ? reinterpret_cast<float*>(a.workspace[norm_sums]) : nullptr;
  int launches = 0, outputs = 0;
  const TensorArg* dx = needs & 1u ? &a.out[outputs++] : nullptr;
  GradientSums sums;
  for (int i = 1; i < 3; ++i)
    if (needs >> i & 1u) sums.add(a.out[outputs++], row_sums + (i - 1) * n.c, RowPieces(n.rows).pieces, 2 * n.c);
  if (needs & 7u)
    with_type(w_a.dtype, [&](auto t) {
      using T = decltype(t);
      gated ? rows<T, true>(a, launches++, n, p, dx, row_sums) : rows<T, false>(a, launches++, n, p, dx, row_sums);
    });
  if (where.floats > 0) {
    launch_transition_weights(a, launches++, gated, w_a.dtype, n, p, where, weight_sums);
    const int64_t in_order[4] = {where.w_a, gated ? where.w_b : where.b_a, where.w_out, where.b_out};
    for (int64_t at : in_order)
      if (at >= 0) sums.add(a.out[outputs++], weight_sums + at, where.pieces(n.rows).pieces, where.floats);
  }
  if (needs & ~1u) launch_sum_gradients(a, launches++, sums);
}

}  // namespace

void relu_transition_backward_gpu(KernelArgs& a) { transition_backward_gpu(a, false); }
void swiglu_transition_backward_gpu(KernelArgs& a) { transition_backward_gpu(a, true); }

}  // namespace reckon::ops::gpu
