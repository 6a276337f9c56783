// The transitions' gradients, for rows and outputs that fit tiles, in three launches: dx and the
// norm's parameters tile by tile of rows (here), the weights' and biases' gradients
// (transition_weights.cu), the sums of the pieces.
#include "ops/kernel/gpu/gradient_sums.cuh"
#include "ops/kernel/gpu/launch.cuh"
#include "ops/transition/transition.cuh"

namespace reckon::ops::gpu {
namespace {

template <class T, bool kGated, int MT, int NT>
struct RowsSpace {
  using Norm = NormGradient<MT, NT>;
  static constexpr int kStep = kHiddenStep<T, MT>, kStages = sizeof(T) == 2 ? 2 : 1,
                       kRowOfStep = tile_row<T>(kStep), kRowOfW = tile_row<T>(8 * NT);
  static constexpr int kOwn = sizeof(T) == 2 ? 0 : 16 * MT * kRowOfStep;
  int row_of_dy, out_stage, stage;  // elements

  RECKON_INLINE constexpr explicit RowsSpace(int out)
      : row_of_dy(tile_row<T>(whole_steps(out))),
        out_stage(whole_steps(out) * kRowOfStep),
        stage(out_stage + (kGated ? 2 : 1) * kStep * kRowOfW) {}
  RECKON_INLINE constexpr int elements() const {
    return kTileRows * row_of_dy + kStages * stage + Norm::kWarps * kOwn;
  }
  RECKON_INLINE constexpr int floats_over() const {
    const int product = elements() * static_cast<int>(sizeof(T)) / 4;
    return product > Norm::kNormalised ? product : Norm::kNormalised;
  }
  RECKON_INLINE constexpr size_t bytes() const { return 4 * static_cast<size_t>(floats_over() + Norm::kKept); }
};

// dn = da W_a (+ db W_b) over the hidden units, da and db from dp = dy W_out, then through the norm. A warp
// holds 16 MT whole rows of up to 8 NT columns. Shared memory: dy [128, out] and stages of the weights of kStep
// hidden units (f32: also each warp's da), overlaid by the normalised rows; what NormGradient keeps.
template <class T, bool kGated, int MT, int NT>
__global__ void __launch_bounds__(NormGradient<MT, NT>::kThreads, MT)
    transition_rows(NormInput n, TransitionBackward p, Elements dx, float* partial, int64_t tiles_per_piece,
                    bool fours) {
  using Space = RowsSpace<T, kGated, MT, NT>;
  constexpr bool kAhead = sizeof(T) == 2 || !kGated;  // f32 has no registers left for two kept values of a unit
  constexpr int kThreads = NormGradient<MT, NT>::kThreads, kStep = Space::kStep, kStages = Space::kStages,
                kRowOfW = Space::kRowOfW;
  RECKON_DYNAMIC_SHARED(T, dy);
  const Space space(p.out);
  T* const stages = dy + kTileRows * space.row_of_dy;
  float* const floats = reinterpret_cast<float*>(dy);
  const NormGradient<MT, NT> norm(n, floats, floats + space.floats_over());
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, out = whole_steps(p.out);
  T* const own = stages + kStages * space.stage + warp * Space::kOwn;

  const auto issue = [&](int h0) {
    T* to = stages + h0 / kStep % kStages * space.stage;
    copy_tile<kThreads>(to, Space::kRowOfStep, out, kStep, static_cast<const T*>(p.w_out) + h0, p.h, p.out,
                        p.h - h0, p.out_vectors);
    to += space.out_stage;
    copy_tile<kThreads>(to, kRowOfW, kStep, 8 * NT, static_cast<const T*>(p.w_a) + int64_t{h0} * n.c, n.c,
                        p.h - h0, n.c, p.in_vectors);
    if constexpr (kGated)
      copy_tile<kThreads>(to + kStep * kRowOfW, kRowOfW, kStep, 8 * NT,
                          static_cast<const T*>(p.w_b) + int64_t{h0} * n.c, n.c, p.h - h0, n.c, p.in_vectors);
  };
  for (int64_t i = 0; i < tiles_per_piece; ++i) {
    const int64_t row0 = (blockIdx.x * tiles_per_piece + i) * kTileRows, warp_row = row0 + 16 * MT * warp;
    if (row0 >= n.rows) break;
    const int rows_left = n.rows - row0 < kTileRows ? static_cast<int>(n.rows - row0) : kTileRows;
    copy_tile<kThreads>(dy, space.row_of_dy, kTileRows, out, static_cast<const T*>(p.dy) + row0 * p.out, p.out,
                        rows_left, p.out, p.dy_vectors);
    if (p.h > 0) issue(0);
    float dn[MT][NT][4];
    clear(dn);
    // Where this lane's first row and unit lie, and what exists from there on.
    const int own_rows = rows_left - 16 * MT * warp - g, own_units = p.h - 2 * t;
    const T* const own_a = static_cast<const T*>(p.a) + (warp_row + g) * p.h + 2 * t;
    const T* const own_b = static_cast<const T*>(p.b) + (warp_row + g) * p.h + 2 * t;
    for (int h0 = 0; h0 < p.h; h0 += kStep) {
      const auto load_kept = [&](const T* kept, int m, int j, int h) {
        const int row = 16 * m + 8 * h, unit = h0 + 8 * j;
        typename PairBits<T>::Type bits = {};
        if (row < own_rows && unit < own_units)
          bits = load_pair_bits(kept + row * p.h + unit, p.pairs, unit + 1 < own_units);
        return bits;
      };
      // The kept values of this step, on their way while the first product runs.
      typename PairBits<T>::Type a[MT][kStep / 8][2], b[kGated ? MT : 1][kStep / 8][2];
      if constexpr (kAhead) {
#pragma unroll
        for (int m = 0; m < MT; ++m)
#pragma unroll
          for (int j = 0; j < kStep / 8; ++j)
#pragma unroll
            for (int h = 0; h < 2; ++h) {
              a[m][j][h] = load_kept(own_a, m, j, h);
              if constexpr (kGated) b[m][j][h] = load_kept(own_b, m, j, h);
            }
      }
      copy_async_wait();
      __syncthreads();
      if (kStages == 2 && h0 + kStep < p.h) issue(h0 + kStep);
      const T* w = stages + h0 / kStep % kStages * space.stage;
      float dp[MT][kStep / 8][4];
      clear(dp);
      multiply<Along::k, Along::rows>(dp, dy + 16 * MT * warp * space.row_of_dy, space.row_of_dy, w,
                                      Space::kRowOfStep, out);
      w += space.out_stage;
      // Sixteen units at a time, to hold fewer registers.
#pragma unroll
      for (int s = 0; s < kStep / 8; s += 2) {
        float d_a[MT][2][4], d_b[MT][2][4];
#pragma unroll
        for (int m = 0; m < MT; ++m)
#pragma unroll
          for (int j = 0; j < 2; ++j)
#pragma unroll
            for (int h = 0; h < 2; ++h) {
              if constexpr (!kAhead) {
                a[m][s + j][h] = load_kept(own_a, m, s + j, h);
                if constexpr (kGated) b[m][s + j][h] = load_kept(own_b, m, s + j, h);
              }
              const float2 v = pair_of<T>(a[m][s + j][h]);
              const float low = dp[m][s + j][2 * h], high = dp[m][s + j][2 * h + 1];
              if constexpr (kGated) {
                const float2 b_v = pair_of<T>(b[m][s + j][h]);
                float gated;
                gate_gradient<T>(low, v.x, b_v.x, d_a[m][j][2 * h], d_b[m][j][2 * h], gated);
                gate_gradient<T>(high, v.y, b_v.y, d_a[m][j][2 * h + 1], d_b[m][j][2 * h + 1], gated);
              } else {
                d_a[m][j][2 * h] = v.x > 0 ? low : (v.x == v.x ? 0.0f : v.x);
                d_a[m][j][2 * h + 1] = v.y > 0 ? high : (v.y == v.y ? 0.0f : v.y);
              }
            }
        multiply_values<Along::rows>(dn, d_a, w + 8 * s * kRowOfW, kRowOfW, own);
        if constexpr (kGated)
          multiply_values<Along::rows>(dn, d_b, w + (kStep + 8 * s) * kRowOfW, kRowOfW, own);
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
void rows(KernelArgs& a, int index, const NormInput& n, const TransitionBackward& p, const TensorArg* dx,
          float* partial) {
  const RowPieces pieces(n.rows);
  const auto run = [&](auto kernel, int threads, size_t bytes) {
    launch(a, index, kernel, blocks_for(pieces.pieces, 1), threads, bytes, n, p,
           dx ? elements(*dx) : Elements{}, partial, pieces.tiles_per_piece, dx && takes_fours(*dx, n.c));
  };
  if (n.c <= 128)
    run(transition_rows<T, kGated, 2, 16>, 128, RowsSpace<T, kGated, 2, 16>(p.out).bytes());
  else if constexpr (sizeof(T) == 2)
    run(transition_rows<T, kGated, 1, 32>, 256, RowsSpace<T, kGated, 1, 32>(p.out).bytes());
}

// relu: in dy, x, ln weight, ln bias, mean, rstd, hidden, w1, w2. Gated: in dy, x, ln weight, ln bias, mean,
// rstd, a, b, w_a, w_b, w_o. out the wanted gradients of the forward inputs. Launches: of rows, weights and
// sums those with something to do.
void transition_backward_gpu(KernelArgs& a, bool gated) {
  const auto& attrs = a.as<TransitionAttrs>();
  using In = TransitionBackwardInput;
  using Relu = ReluTransitionBackwardInput;
  using Gated = SwigluTransitionBackwardInput;
  const auto in = [&](int of_gated, int of_relu) -> const TensorArg& {
    return a.in[gated ? of_gated : of_relu];
  };
  const TensorArg &dy = a.in[In::dout], &x = a.in[In::x];
  const TensorArg &kept_a = in(Gated::a, Relu::hidden), &kept_b = in(Gated::b, Relu::hidden);
  const TensorArg &w_a = in(Gated::w_a, Relu::w1), &w_b = in(Gated::w_b, Relu::w1),
                  &w_out = in(Gated::w_o, Relu::w2);
  const int64_t h = w_a.shape[0], out = w_out.shape[0];
  if (!transition_fused(x.last(), out, w_a.dtype)) return transition_backward_wide_gpu(a, gated);
  const uint32_t needs = attrs.needs;
  const NormInput n = norm_input(x, a.in[In::ln_weight], a.in[In::ln_bias], NormKind::layer, attrs.eps,
                                 a.in[In::mean].as<float>(), a.in[In::rstd].as<float>());
  const auto pairs = [&](const TensorArg& t) {
    return h % 2 == 0 && reinterpret_cast<uintptr_t>(t.data) % 8 == 0;
  };
  const TransitionBackward p{dy.data,
                             kept_a.data,
                             kept_b.data,
                             w_a.data,
                             w_b.data,
                             w_out.data,
                             static_cast<int>(h),
                             static_cast<int>(out),
                             takes_vectors(dy),
                             takes_vectors(w_a) && takes_vectors(w_b),
                             takes_vectors(w_out),
                             pairs(kept_a) && pairs(kept_b)};
  const TransitionSums where(needs, {gated, n.rows, n.c, h, out});
  const bool norm_sums = (needs & kTransitionNormParameters) != 0;
  float* const row_sums = norm_sums ? reinterpret_cast<float*>(a.workspace[0]) : nullptr;
  float* const weight_sums = where.floats > 0 ? reinterpret_cast<float*>(a.workspace[norm_sums]) : nullptr;
  int launches = 0, outputs = 0;
  const TensorArg* dx = needs & input_bits(TransitionInput::x) ? &a.out[outputs++] : nullptr;
  GradientSums sums;
  for (int i : {TransitionInput::ln_weight, TransitionInput::ln_bias})
    if (needs >> i & 1u)
      sums.add(a.out[outputs++], row_sums + (i - TransitionInput::ln_weight) * n.c, RowPieces(n.rows).pieces,
               2 * n.c);
  if (needs & kTransitionNormInputs)
    with_type(w_a.dtype, [&](auto t) {
      using T = decltype(t);
      gated ? rows<T, true>(a, launches++, n, p, dx, row_sums)
            : rows<T, false>(a, launches++, n, p, dx, row_sums);
    });
  if (where.floats > 0) {
    launch_transition_weights(a, launches++, gated, w_a.dtype, n, p, where, weight_sums);
    const int64_t in_order[4] = {where.w_a, gated ? where.w_b : where.b_a, where.w_out, where.b_out};
    for (int64_t at : in_order)
      if (at >= 0) sums.add(a.out[outputs++], weight_sums + at, where.pieces(n.rows).pieces, where.floats);
  }
  if (needs & ~input_bits(TransitionInput::x)) launch_sum_gradients(a, launches++, sums);
}

}  // namespace

void relu_transition_backward_gpu(KernelArgs& a) { transition_backward_gpu(a, false); }
void swiglu_transition_backward_gpu(KernelArgs& a) { transition_backward_gpu(a, true); }

}  // namespace reckon::ops::gpu
