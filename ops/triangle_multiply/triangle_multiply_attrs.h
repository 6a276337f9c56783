// What triangle_multiply and its backward op are asked for, and the names of their inputs and of what is kept.
// Read by the plans and by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

struct TriangleMultiplyAttrs : Attrs {
  TriangleMultiplyAttrs(bool o, double e, uint32_t n = 0) : outgoing(o), eps(e), needs(n) {}
  bool outgoing;
  double eps;
  uint32_t needs;  // backward: the inputs of the forward op whose gradients are wanted
};

// Positions of the forward op's inputs.
namespace triangle {
enum Input : int {
  z,
  mask,
  ln_in_w,
  ln_in_b,
  w_a,
  b_a,
  w_ag,
  b_ag,
  w_b,
  b_b,
  w_bg,
  b_bg,
  ln_out_w,
  ln_out_b,
  w_z,
  b_z,
  w_g,
  b_g,
  n_inputs
};
RECKON_INLINE constexpr bool is_matrix(int input) {
  return input == w_a || input == w_ag || input == w_b || input == w_bg || input == w_z || input == w_g;
}
RECKON_INLINE constexpr int bias_of(int matrix) { return matrix + 1; }
RECKON_INLINE constexpr int matrix_of(int bias) { return bias - 1; }
RECKON_INLINE constexpr int gate_of(int side) { return side + 2; }  // of w_a or w_b: the weight of its gate
// What the op keeps, in this order: its further outputs, or, where nothing needs a
// gradient, only t in a workspace.
enum Kept : int { pa, pag, pb, pbg, t, o, g, mean_in, rstd_in, mean_out, rstd_out, n_kept };
}  // namespace triangle

// Input positions of the backward op: the output's gradient, the forward inputs (biases absent), what was kept.
inline constexpr int kTriangleDout = 0;
RECKON_INLINE constexpr int triangle_input(int forward_input) { return kTriangleDout + 1 + forward_input; }
RECKON_INLINE constexpr int triangle_kept(int kept) { return triangle_input(triangle::n_inputs) + kept; }

// Channels whose R x R matrices are multiplied at a time: a cache line of a position.
inline constexpr int64_t kMostTriangleChannels = 32;
RECKON_INLINE constexpr int64_t triangle_channels(DType t) {
  return size_of(t) == 2 ? kMostTriangleChannels : 16;
}

}  // namespace reckon::ops
