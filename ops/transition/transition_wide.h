// The transitions on a GPU where rows or outputs are wider than tiles: which steps, in which
// order, with which workspaces. Pure in shapes, types and the size of a library workspace; the
// plan lists what the kernel then does.
//
// The library multiplies, chunk by chunk of the rows, so that hidden units that are not kept never
// exist whole. With more than one chunk, weight gradients of 16-bit types are summed in f32. In
// backward a chunk's normalised rows and, once the weights have their gradients, the f32 gradient of
// these rows take the same workspace.
#pragma once

#include "ops/kernel/plan/norm_pieces.h"
#include "ops/transition/transition_gpu.h"

namespace reckon::ops {

// Rows whose hidden units are in memory at a time: what fills a library workspace, whole
// tiles, at least the CPU's tallest.
struct HiddenChunks {
  HiddenChunks(int64_t rows_, int64_t bytes_per_row, size_t budget) : rows(rows_) {
    const int64_t fits =
        static_cast<int64_t>(budget) / (bytes_per_row > 0 ? bytes_per_row : 1) / kTileRows * kTileRows;
    const int64_t most = fits > kLeast ? fits : kLeast, n = rows > most ? (rows + most - 1) / most : 1;
    height = n == 1 ? rows : ((rows + n - 1) / n + kTileRows - 1) / kTileRows * kTileRows;
    count = rows > 0 ? (rows + height - 1) / height : 1;
  }
  int64_t of(int64_t chunk) const { return rows - chunk * height < height ? rows - chunk * height : height; }
  // sum over the chunks of f(rows of a chunk)
  template <class F>
  int64_t sum(F&& f) const {
    return (count - 1) * f(height) + f(of(count - 1));
  }

  static constexpr int64_t kLeast = 512;
  int64_t rows, height, count;
};

struct WideTransition {
  enum class Step : uint8_t {
    normalise,  // rows of a chunk, or only into the weights' type
    project_a,  // relu: with bias and relu
    project_b,
    gate,
    project_out,
    sum_outputs,  // backward: dy, for the outer bias
    hidden_gradient,
    through_relu,  // and sums for the inner bias
    through_gate,
    w_out_gradient,
    w_a_gradient,
    w_b_gradient,
    rows_gradient_a,
    rows_gradient_b,
    norm_backward,  // without a norm: only into x's type
    sum_gradients,
  };
  // Tiles hold a chunk's hidden units. Forward: (relu) them, (gated) a, later the product, and b.
  // Backward: da, db, the product.
  enum Buffer : uint8_t { library, rows, tile_a, tile_b, tile_c, norm_sums, bias_sums, kBuffers };

  TransitionSizes sizes;
  DType x, weights;
  bool normalised, backward;
  bool keeps;      // forward: hidden units (relu) or both projections are outputs
  uint32_t needs;  // backward: bits of the forward op's inputs
  size_t library_bytes;
  HiddenChunks chunks;

  WideTransition(const TransitionSizes& s, DType x_, DType t, bool normalised_, bool keeps_, size_t library)
      : WideTransition(s, x_, t, normalised_, false, keeps_, 0, library) {}
  static WideTransition gradients(const TransitionSizes& s, DType x, DType t, bool normalised, uint32_t needs,
                                  size_t library) {
    return {s, x, t, normalised, true, true, needs, library};
  }

  bool wants(int input) const { return (needs >> input & 1u) != 0; }
  bool wants_w_a() const { return wants(TransitionInput::w_in); }
  bool wants_w_b() const { return sizes.gated && wants(SwigluTransitionInput::w_b); }
  bool wants_b_a() const { return !sizes.gated && wants(ReluTransitionInput::b1); }
  bool wants_w_out() const { return wants(TransitionInput::w_out); }
  bool wants_b_out() const { return !sizes.gated && wants(ReluTransitionInput::b2); }
  bool through_norm() const { return (needs & kTransitionNormInputs) != 0; }
  bool through_hidden() const { return sizes.gated || (needs & kTransitionHiddenInputs) != 0; }
  int n_norm_sums() const { return wants(TransitionInput::ln_weight) + wants(TransitionInput::ln_bias); }
  // Whether the products read x itself, and write dx themselves.
  bool reads_x() const { return !normalised && x == weights; }
  bool writes_dx() const { return !normalised && x == DType::f32; }

  // Pieces of the sums; those of b_out lie behind those of b_a.
  int64_t norm_pieces() const {
    return chunks.sum([&](int64_t m) { return norm_gpu_pieces(m, sizes.c); });
  }
  int64_t b_a_pieces() const {
    return chunks.sum([](int64_t m) { return ColumnPieces(m).pieces; });
  }
  int64_t b_out_pieces() const { return ColumnPieces(sizes.rows).pieces; }

  size_t bytes(Buffer b) const {
    const auto of = [](bool used, int64_t n, DType t) {
      return used ? static_cast<size_t>(n > 16 ? n : 16) * size_of(t) : 0;
    };
    const int64_t rows_elements = chunks.height * sizes.c, tile = chunks.height * sizes.h;
    switch (b) {
      case library:
        return library_bytes;
      case rows:
        if (!backward) return of(!reads_x(), rows_elements, weights);
        if (through_norm() && !writes_dx()) return of(true, rows_elements, DType::f32);
        return of(!reads_x() && (wants_w_a() || wants_w_b()), rows_elements, weights);
      case tile_a:
        return of(backward ? through_hidden() : sizes.gated || !keeps, tile, weights);
      case tile_b:
        return of(sizes.gated && (backward || !keeps), tile, weights);
      case tile_c:
        return of(sizes.gated && backward, tile, weights);
      case norm_sums:
        return of(n_norm_sums() > 0, norm_pieces() * n_norm_sums() * sizes.c, DType::f32);
      case bias_sums:
        return of(wants_b_a() || wants_b_out(),
                  (wants_b_a() ? b_a_pieces() * sizes.h : 0) + (wants_b_out() ? b_out_pieces() * sizes.out : 0),
                  DType::f32);
      case kBuffers:
        break;
    }
    return 0;
  }
  static const char* label(Buffer b) {
    constexpr const char* names[kBuffers] = {
        "library workspace", "normalised rows",         "hidden tile a",          "hidden tile b",
        "hidden tile c",     "norm sums of row pieces", "bias sums of row pieces"};
    return names[b];
  }

  // f(step, chunk), in the order of the launches.
  template <class F>
  void for_each(F&& f) const {
    if (!backward) {
      for (int64_t i = 0; i < chunks.count; ++i) {
        if (!reads_x()) f(Step::normalise, i);
        f(Step::project_a, i);
        if (sizes.gated) f(Step::project_b, i);
        if (sizes.gated) f(Step::gate, i);
        f(Step::project_out, i);
      }
      return;
    }
    if (wants_b_out()) f(Step::sum_outputs, int64_t{0});
    for (int64_t i = 0; i < chunks.count; ++i) {
      if (through_hidden()) f(Step::hidden_gradient, i);
      if (through_hidden()) f(sizes.gated ? Step::through_gate : Step::through_relu, i);
      if (wants_w_out()) f(Step::w_out_gradient, i);
      if (!reads_x() && (wants_w_a() || wants_w_b())) f(Step::normalise, i);
      if (wants_w_a()) f(Step::w_a_gradient, i);
      if (wants_w_b()) f(Step::w_b_gradient, i);
      if (!through_norm()) continue;
      f(Step::rows_gradient_a, i);
      if (sizes.gated) f(Step::rows_gradient_b, i);
      if (!writes_dx()) f(Step::norm_backward, i);
    }
    if (n_norm_sums() > 0 || wants_b_a() || wants_b_out()) f(Step::sum_gradients, int64_t{0});
  }
  const char* name(Step s) const {
    switch (s) {
      case Step::normalise:
        return normalised ? "norm_rows" : "pack";
      case Step::norm_backward:
        return normalised ? "norm_backward" : "pack";
      case Step::gate:
        return "transition_gate";
      case Step::sum_outputs:
        return "column_sums";
      case Step::through_relu:
        return "relu_gradient";
      case Step::through_gate:
        return "gate_gradient";
      case Step::sum_gradients:
        return "sum_gradients";
      default:
        return "gemm";
    }
  }
  static bool is_product(Step s) {
    switch (s) {
      case Step::project_a:
      case Step::project_b:
      case Step::project_out:
      case Step::hidden_gradient:
      case Step::w_out_gradient:
      case Step::w_a_gradient:
      case Step::w_b_gradient:
      case Step::rows_gradient_a:
      case Step::rows_gradient_b:
        return true;
      default:
        return false;
    }
  }

 private:
  WideTransition(const TransitionSizes& s, DType x_, DType t, bool normalised_, bool backward_, bool keeps_,
                 uint32_t needs_, size_t library)
      : sizes(s),
        x(x_),
        weights(t),
        normalised(normalised_),
        backward(backward_),
        keeps(keeps_),
        needs(needs_),
        library_bytes(library),
        chunks(
            s.rows,
            s.h * static_cast<int64_t>(size_of(t)) > 4 * s.c ? s.h * static_cast<int64_t>(size_of(t)) : 4 * s.c,
            library) {}
};

}  // namespace reckon::ops
