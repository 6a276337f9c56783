// How norm_linear runs on a GPU: the same pure rules serve the plan and the kernels. Rows that fit tiles are
// normalised into shared memory by the kernel that multiplies them, so that no normalised row reaches memory.
// Wider ones are normalised into a workspace, and the library multiplies them.
#pragma once

#include "ops/kernel/plan/norm_pieces.h"
#include "ops/kernel/plan/tile_pieces.h"
#include "ops/norm_linear/norm_linear_attrs.h"

namespace reckon::ops {

// Backward: where the gradients of linear i lie in a piece's floats, and how many blocks sum a piece.
struct NormLinearSums {
  int64_t weight[kMaxNormLinears], bias[kMaxNormLinears];  // offsets, -1: not wanted
  int64_t floats = 0, out_tiles = 0, column_tiles = 1;

  // `out(i)`: rows of weight i.
  template <class Out>
  RECKON_INLINE NormLinearSums(uint32_t needs, int n_linears, int64_t c, Out out) {
    for (int i = 0; i < n_linears; ++i) {
      const bool dw = needs >> NormLinearInput::weight(i) & 1u, db = needs >> NormLinearInput::bias(i) & 1u;
      const auto take = [&](bool wanted, int64_t n) {
        if (!wanted) return int64_t{-1};
        const int64_t at = floats;
        floats += (n + 3) / 4 * 4;
        return at;
      };
      weight[i] = take(dw, out(i) * c);
      bias[i] = take(db, out(i));
      if (dw || db) out_tiles += (out(i) + kWeightTile - 1) / kWeightTile;
      if (dw) column_tiles = (c + kWeightTile - 1) / kWeightTile;
    }
  }
  RECKON_INLINE WeightPieces pieces(int64_t rows) const { return WeightPieces(rows, out_tiles * column_tiles); }
};

// Backward of rows wider than tiles: the steps, one launch each, and the workspaces. The normalised rows and,
// once the weights have their gradients, the f32 gradient of these rows take the same workspace.
struct WideNormLinearSteps {
  using In = NormLinearInput;
  enum class Step : uint8_t {
    normalise,
    weight_gradient,
    sum_columns,
    rows_gradient,
    norm_backward,
    sum_gradients
  };
  enum Buffer : uint8_t { library, rows_of_norm, norm_sums, bias_sums, kBuffers };

  uint32_t needs, used;  // bit i of `used`: output i has a gradient
  int n_linears;
  int64_t rows, c;
  DType weights;
  size_t library_bytes;
  int64_t bias[kMaxNormLinears];  // in a piece's floats, -1: not wanted
  int64_t bias_floats = 0;

  // `out(i)`: rows of weight i.
  template <class Out>
  WideNormLinearSteps(uint32_t needs_, uint32_t used_, int n, int64_t rows_, int64_t c_, DType t,
                      size_t library, Out out)
      : needs(needs_), used(used_), n_linears(n), rows(rows_), c(c_), weights(t), library_bytes(library) {
    for (int i = 0; i < n; ++i) {
      bias[i] = wants(In::bias(i)) ? bias_floats : -1;
      if (wants(In::bias(i))) bias_floats += out(i);
    }
  }

  static constexpr uint32_t kEverySecond = 0x55555555u;  // bits 0, 2, 4, ..
  bool wants(int input) const { return needs >> input & 1u; }
  bool wants_weights() const { return (needs & kEverySecond << In::weight(0)) != 0; }
  bool wants_biases() const { return (needs & kEverySecond << In::bias(0)) != 0; }
  bool through_norm() const { return (needs & kNormLinearNormInputs) != 0; }
  int n_norm_sums() const { return wants(In::norm_weight) + wants(In::norm_bias); }

  size_t bytes(Buffer b) const {
    const auto of = [](int64_t n, DType t) { return static_cast<size_t>(n > 16 ? n : 16) * size_of(t); };
    switch (b) {
      case library:
        return wants_weights() || through_norm() ? library_bytes : 0;
      case rows_of_norm:
        return through_norm() ? of(rows * c, DType::f32) : wants_weights() ? of(rows * c, weights) : 0;
      case norm_sums:
        return n_norm_sums() > 0 ? of(norm_gpu_pieces(rows, c) * n_norm_sums() * c, DType::f32) : 0;
      case bias_sums:
        return wants_biases() ? of(ColumnPieces(rows).pieces * bias_floats, DType::f32) : 0;
      case kBuffers:
        break;
    }
    return 0;
  }
  static const char* label(Buffer b) {
    constexpr const char* names[kBuffers] = {"library workspace", "normalised rows", "norm sums of row pieces",
                                             "bias sums of row pieces"};
    return names[b];
  }

  // f(step, linear), in the order of the launches.
  template <class F>
  void for_each(F&& f) const {
    if (wants_weights()) f(Step::normalise, 0);
    for (int i = 0; i < n_linears; ++i)
      if (wants(In::weight(i))) f(Step::weight_gradient, i);
    if (wants_biases()) f(Step::sum_columns, 0);
    for (int i = 0; i < n_linears; ++i)
      if (through_norm() && used >> i & 1u) f(Step::rows_gradient, i);
    if (through_norm()) f(Step::norm_backward, 0);
    if (n_norm_sums() > 0 || wants_biases()) f(Step::sum_gradients, 0);
  }
  static const char* name(Step s) {
    constexpr const char* names[] = {"norm_rows", "gemm",          "column_sums",
                                     "gemm",      "norm_backward", "sum_gradients"};
    return names[static_cast<int>(s)];
  }
  static bool is_product(Step s) { return s == Step::weight_gradient || s == Step::rows_gradient; }
};

}  // namespace reckon::ops
