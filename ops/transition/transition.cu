// The transitions forward, for rows and outputs that fit tiles: see transition_gpu.h.
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/launch.cuh"
#include "ops/transition/transition.cuh"

namespace reckon::ops::gpu {
namespace {

struct TransitionForward {
  const void *w_a, *w_b, *w_out, *b_a, *b_out;
  void *y, *a, *b;  // a and b: what is kept, or null
  int h, out;
  bool in_vectors, out_vectors, kept_fours, y_fours;
};

template <class T, bool kGated, int MT, int NO>
struct ForwardSpace {
  static constexpr int kWarps = kTileRows / (16 * MT), kStep = kHiddenStep<T, MT>,
                       kStages = sizeof(T) == 2 ? 2 : 1;
  static constexpr int kRowOfOut = tile_row<T>(kStep), kOwn = sizeof(T) == 2 ? 0 : 16 * MT * kRowOfOut;
  int row_of_tile, weight, stage;  // elements

  RECKON_INLINE constexpr explicit ForwardSpace(int c)
      : row_of_tile(tile_row<T>(whole_steps(c))),
        weight(kStep * row_of_tile),
        stage((kGated ? 2 : 1) * weight + 8 * NO * kRowOfOut) {}
  RECKON_INLINE constexpr size_t bytes() const {
    return sizeof(T) * static_cast<size_t>(kTileRows * row_of_tile + kStages * stage + kWarps * kOwn);
  }
};

// A block takes 128 rows, a warp 16 MT of them with all their outputs, up to 8 NO. Shared memory: normalised
// rows, stages of the weights of kStep hidden units; for f32 each warp's hidden values.
template <class T, bool kGated, int MT, int NO>
__global__ void __launch_bounds__(32 * kTileRows / (16 * MT), MT)
    transition_forward(NormInput n, TransitionForward p) {
  using Space = ForwardSpace<T, kGated, MT, NO>;
  constexpr int kThreads = 32 * Space::kWarps, kStep = Space::kStep, kStages = Space::kStages;
  RECKON_DYNAMIC_SHARED(T, rows);
  const Space space(n.c);
  T* const stages = rows + kTileRows * space.row_of_tile;
  const int warp = threadIdx.x / 32, columns = whole_steps(n.c);
  T* const own = stages + kStages * space.stage + warp * Space::kOwn;
  const int64_t row0 = int64_t{blockIdx.x} * kTileRows, warp_row = row0 + 16 * MT * warp;
  const int rows_left = n.rows - warp_row < 16 * MT ? static_cast<int>(n.rows - warp_row) : 16 * MT;

  const auto issue = [&](int h0) {
    T* const to = stages + h0 / kStep % kStages * space.stage;
    copy_tile<kThreads>(to, space.row_of_tile, kStep, columns, static_cast<const T*>(p.w_a) + int64_t{h0} * n.c,
                        n.c, p.h - h0, n.c, p.in_vectors);
    if constexpr (kGated)
      copy_tile<kThreads>(to + space.weight, space.row_of_tile, kStep, columns,
                          static_cast<const T*>(p.w_b) + int64_t{h0} * n.c, n.c, p.h - h0, n.c, p.in_vectors);
    copy_tile<kThreads>(to + (kGated ? 2 : 1) * space.weight, Space::kRowOfOut, 8 * NO, kStep,
                        static_cast<const T*>(p.w_out) + h0, p.h, p.out, p.h - h0, p.out_vectors);
  };
  if (p.h > 0) issue(0);
  norm_tile<true, kThreads>(n, row0, rows, space.row_of_tile, true);

  float out[MT][NO][4];
  clear(out);
  for (int h0 = 0; h0 < p.h; h0 += kStep) {
    copy_async_wait();
    __syncthreads();
    if (kStages == 2 && h0 + kStep < p.h) issue(h0 + kStep);
    const T* w = stages + h0 / kStep % kStages * space.stage;
    const T* x = rows + 16 * MT * warp * space.row_of_tile;
    const int width = p.h - h0 < kStep ? p.h - h0 : kStep;
    float a[MT][kStep / 8][4];
    clear(a);
    multiply<Along::k, Along::k>(a, x, space.row_of_tile, w, space.row_of_tile, columns);
    const auto keep = [&](const float(&v)[MT][kStep / 8][4], void* to) {
      if (to) store_sums(v, static_cast<T*>(to) + warp_row * p.h + h0, p.h, rows_left, width, p.kept_fours);
    };
    if constexpr (kGated) {
      float b[MT][kStep / 8][4];
      clear(b);
      multiply<Along::k, Along::k>(b, x, space.row_of_tile, w + space.weight, space.row_of_tile, columns);
      keep(a, p.a);
      keep(b, p.b);
      // Rounded as they are kept, so that backward sees the same values.
#pragma unroll
      for (int m = 0; m < MT; ++m)
#pragma unroll
        for (int i = 0; i < kStep / 8; ++i)
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            const float v = rounded<T>(a[m][i][e]);
            a[m][i][e] = v * sigmoid<T>(v) * rounded<T>(b[m][i][e]);
          }
    } else {
      if (p.b_a) add_bias(a, static_cast<const T*>(p.b_a) + h0, width);
#pragma unroll
      for (int m = 0; m < MT; ++m)
#pragma unroll
        for (int i = 0; i < kStep / 8; ++i)
#pragma unroll
          for (int e = 0; e < 4; ++e) a[m][i][e] = 0.0f > a[m][i][e] ? 0.0f : a[m][i][e];  // keeps NaN
      keep(a, p.a);
    }
    multiply_values<Along::k>(out, a, w + (kGated ? 2 : 1) * space.weight, Space::kRowOfOut, own);
    if constexpr (kStages == 1) {
      __syncthreads();
      if (h0 + kStep < p.h) issue(h0 + kStep);
    }
  }
  if (p.b_out) add_bias(out, static_cast<const T*>(p.b_out), p.out);
  store_sums(out, static_cast<T*>(p.y) + warp_row * p.out, p.out, rows_left, p.out, p.y_fours);
}

template <class T, bool kGated>
void forward(KernelArgs& a, const NormInput& n, const TransitionForward& p) {
  const unsigned blocks = blocks_for(n.rows, kTileRows);
  if (p.out <= 128)
    launch(a, 0, transition_forward<T, kGated, 2, 16>, blocks, 128, ForwardSpace<T, kGated, 2, 16>(n.c).bytes(),
           n, p);
  else if constexpr (sizeof(T) == 2)
    launch(a, 0, transition_forward<T, kGated, 1, 32>, blocks, 256, ForwardSpace<T, kGated, 1, 32>(n.c).bytes(),
           n, p);
}

// relu: in x, ln weight, ln bias, w1, b1, w2, b2; out y, [hidden], mean, rstd. Gated: in x, ln weight, ln bias,
// w_a, w_b, w_o; out y, [a, b], [mean, rstd where there is a norm].
void transition_gpu(KernelArgs& a, bool gated) {
  using In = TransitionInput;
  const TensorArg &x = a.in[In::x], &w_a = a.in[In::w_in], &w_out = a.in[In::w_out], &y = a.out[0];
  const int64_t h = w_a.shape[0], out = w_out.shape[0];
  if (!transition_fused(x.last(), out, w_a.dtype)) return transition_wide_gpu(a, gated);
  const bool normalised = a.in[In::ln_weight].defined();
  const int n_kept = a.n_out - 1 - (normalised ? 2 : 0);
  float* const mean = normalised ? a.out[a.n_out - 2].as<float>() : nullptr;
  float* const rstd = normalised ? a.out[a.n_out - 1].as<float>() : nullptr;
  const NormInput n = norm_input(x, a.in[In::ln_weight], a.in[In::ln_bias], NormKind::layer,
                                 a.as<TransitionAttrs>().eps, mean, rstd);
  TransitionForward p{.w_a = w_a.data,
                      .w_b = nullptr,
                      .w_out = w_out.data,
                      .b_a = nullptr,
                      .b_out = nullptr,
                      .y = y.data,
                      .a = n_kept > 0 ? a.out[1].data : nullptr,
                      .b = n_kept > 1 ? a.out[2].data : nullptr,
                      .h = static_cast<int>(h),
                      .out = static_cast<int>(out),
                      .in_vectors = takes_vectors(w_a),
                      .out_vectors = takes_vectors(w_out),
                      .kept_fours = h % 4 == 0,
                      .y_fours = takes_fours(y, out)};
  for (int k = 1; k <= n_kept; ++k) p.kept_fours &= takes_fours(a.out[k], h);
  if (gated) {
    const TensorArg& w_b = a.in[SwigluTransitionInput::w_b];
    p.w_b = w_b.data;
    p.in_vectors &= takes_vectors(w_b);
  } else {
    p.b_a = a.in[ReluTransitionInput::b1].data;
    p.b_out = a.in[ReluTransitionInput::b2].data;
  }
  with_type(w_a.dtype, [&](auto t) {
    gated ? forward<decltype(t), true>(a, n, p) : forward<decltype(t), false>(a, n, p);
  });
}

void relu_transition_gpu(KernelArgs& a) { transition_gpu(a, false); }
void swiglu_transition_gpu(KernelArgs& a) { transition_gpu(a, true); }

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(transition) {
  return {{"relu_transition", relu_transition_gpu},
          {"relu_transition_backward", relu_transition_backward_gpu},
          {"swiglu_transition", swiglu_transition_gpu},
          {"swiglu_transition_backward", swiglu_transition_backward_gpu}};
}
