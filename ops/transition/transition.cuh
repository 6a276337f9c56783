// What the files of the transitions' GPU kernels show each other.
#pragma once

#include "ops/kernel/gpu/norm_tile.cuh"
#include "ops/transition/transition_attrs.h"
#include "ops/transition/transition_gpu.h"

namespace reckon::ops::gpu {

void relu_transition_backward_gpu(KernelArgs& a);
void swiglu_transition_backward_gpu(KernelArgs& a);

// Where rows or outputs are wider than tiles.
void transition_wide_gpu(KernelArgs& a, bool gated);
void transition_backward_wide_gpu(KernelArgs& a, bool gated);

// What backward reads, beside the norm's input.
struct TransitionBackward {
  // dy [rows, out]; a, b [rows, h]: the relu's output, or the two projections.
  const void *dy, *a, *b, *w_a, *w_b, *w_out;
  int h, out;
  // Of dy; of w_a and w_b; of w_out; pairs of a and b lie aligned.
  bool dy_vectors, in_vectors, out_vectors, pairs;
};

// The second kernel of backward: gradients of the weights and biases by pieces of the rows, into `partial`.
void launch_transition_weights(const KernelArgs& a, int index, bool gated, DType type, const NormInput& n,
                               const TransitionBackward& p, const TransitionSums& sums, float* partial);

// Hidden units of a step of the kernels over rows.
template <class T, int MT>
inline constexpr int kHiddenStep = sizeof(T) == 2 && MT == 2 ? 32 : 16;

template <class T>
__device__ __forceinline__ float sigmoid(float x) {
  if constexpr (sizeof(T) == 2) {
    const float e = __expf(-fabsf(x));
    return __fdividef(x < 0.0f ? e : 1.0f, 1.0f + e);
  } else {
    const float e = expf(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
  }
}

// From dp, the gradient of the hidden layer's output: with s = sigmoid(a) that of silu(a) b is da = dp b (s + a
// s (1 - s)) and db = dp a s. `gated` becomes silu(a) b.
template <class T>
__device__ __forceinline__ void gate_gradient(float dp, float a, float b, float& da, float& db, float& gated) {
  const float s = sigmoid<T>(a), silu = a * s;
  gated = silu * b;
  db = dp * silu;
  da = dp * b * (s + silu * (1.0f - s));
}

}  // namespace reckon::ops::gpu
