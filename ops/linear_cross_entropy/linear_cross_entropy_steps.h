// The GPU's way through the tiles of logits: which steps, in which order, with which workspaces. Pure in
// shapes, types and the size of a library workspace; the plan lists what the kernel then does.
//
// Classes are outermost. A tile of logits [rows, classes] is a product in f32; forward folds it into a running
// logsumexp of each row, backward turns it into its gradient, which two more products take to dx and dweight.
// With bf16 operands the gradient is held in bf16, else in f32, and operands of another type are converted to
// that: x once, the weight tile by tile. dx is summed over class tiles in f32; where there is one tile only, or
// dx is f32, it needs no sums of its own. dweight is f32 and summed over row tiles where it lies.
#pragma once

#include "ops/linear_cross_entropy/linear_cross_entropy_attrs.h"

namespace reckon::ops {

struct LossSteps {
  enum class Step : uint8_t {
    convert_x,
    scale,           // backward: the output's gradient, over the number of counted rows for a mean
    convert_weight,  // of a class tile
    logits,
    statistics,
    logit_gradients,
    x_gradient,
    weight_gradient,
    round_x_gradient,
    reduce,
  };
  enum Buffer : uint8_t { library, logits, gradients, converted_x, converted_weight, x_sums, rows, kBuffers };

  DType x = DType::f32, weight = DType::f32;
  bool backward = false, wants_x = false, wants_weight = false;
  size_t library_bytes = 0;
  LogitTiles tiles{};

  LossSteps(int64_t T, int64_t V, int64_t H, DType x_, DType weight_, size_t library_workspace_bytes,
            bool backward_, bool wants_x_ = false, bool wants_weight_ = false)
      : x(x_),
        weight(weight_),
        backward(backward_),
        wants_x(wants_x_),
        wants_weight(wants_weight_),
        library_bytes(library_workspace_bytes) {
    // A tile takes up to eight times a library workspace, 256 MiB by default. Square tiles read both operands
    // equally often; few rows leave room for more classes.
    const int64_t budget = static_cast<int64_t>(8 * library_workspace_bytes / sizeof(float));
    int64_t side = kUnit;
    while (4 * side * side <= budget && side < kMostRows) side *= 2;
    const int64_t tile_rows = side < T ? side : T, fits = budget / tile_rows / kUnit * kUnit,
                  most = fits > kUnit ? fits : kUnit;
    const int64_t n = (V + most - 1) / most;
    tiles = {T, V, H, tile_rows, rounded((V + n - 1) / n, kUnit)};
  }

  // Elements from one row of a tile to the next; rows start at multiples of 32 bytes.
  int64_t pitch() const { return rounded(tiles.most_classes(), 16); }
  DType logit_operand() const { return x == weight ? x : DType::f32; }
  DType gradient() const { return low_logit_gradient(x, weight) ? DType::bf16 : DType::f32; }
  bool converts_x() const { return x != logit_operand() || (wants_weight && x != gradient()); }
  bool converts_weight() const { return weight != logit_operand() || (wants_x && weight != gradient()); }
  bool sums_x() const { return wants_x && x != DType::f32 && (x != gradient() || tiles.class_tiles() > 1); }

  size_t bytes(Buffer b) const {
    const auto of = [](int64_t n, DType t) { return static_cast<size_t>(n) * size_of(t); };
    switch (b) {
      case library:
        return library_bytes;
      case logits:
        return of(tiles.most_rows() * pitch(), DType::f32);
      case gradients:
        return backward && gradient() != DType::f32 ? of(tiles.most_rows() * pitch(), gradient()) : 0;
      case converted_x:
        return converts_x() ? of(tiles.T * tiles.H, DType::f32) : 0;
      case converted_weight:
        return converts_weight() ? of(tiles.most_classes() * tiles.H, DType::f32) : 0;
      case x_sums:
        return sums_x() ? of(tiles.T * tiles.H, DType::f32) : 0;
      case rows:
        return backward ? sizeof(float)
                        : of(kRowFields * tiles.T, DType::f32);  // the scale, or the running logsumexp
      case kBuffers:
        break;
    }
    return 0;
  }
  static const char* label(Buffer b) {
    constexpr const char* names[kBuffers] = {"library workspace",
                                             "tile of logits",
                                             "tile of logit gradients",
                                             "x in f32",
                                             "tile of weight in f32",
                                             "dx in f32",
                                             "rows"};
    return names[b];
  }
  static constexpr int kRowFields = 4;  // maximum, sum, logit of the target, loss

  // f(step, row tile, class tile), in the order of the launches.
  template <class F>
  void for_each(F&& f) const {
    if (converts_x()) f(Step::convert_x, int64_t{0}, int64_t{0});
    if (backward) f(Step::scale, int64_t{0}, int64_t{0});
    for (int64_t v = 0; v < tiles.class_tiles(); ++v) {
      if (converts_weight()) f(Step::convert_weight, int64_t{0}, v);
      for (int64_t r = 0; r < tiles.row_tiles(); ++r) {
        f(Step::logits, r, v);
        f(backward ? Step::logit_gradients : Step::statistics, r, v);
        if (wants_x) f(Step::x_gradient, r, v);
        if (wants_weight) f(Step::weight_gradient, r, v);
      }
    }
    if (sums_x()) f(Step::round_x_gradient, int64_t{0}, int64_t{0});
    if (!backward) f(Step::reduce, int64_t{0}, int64_t{0});
  }
  static const char* name(Step s) {
    switch (s) {
      case Step::convert_x:
      case Step::convert_weight:
      case Step::round_x_gradient:
        return "pack";
      case Step::scale:
        return "loss_scale";
      case Step::logits:
      case Step::x_gradient:
      case Step::weight_gradient:
        return "gemm";
      case Step::statistics:
        return "running_logsumexp";
      case Step::logit_gradients:
        return "logit_gradients";
      case Step::reduce:
        return "cross_entropy_reduce";
    }
    return "";
  }
  static bool is_product(Step s) {
    return s == Step::logits || s == Step::x_gradient || s == Step::weight_gradient;
  }

 private:
  static constexpr int64_t kUnit = 128, kMostRows = 32768;  // a grid's y extent ends at 65535
  static int64_t rounded(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }
};

}  // namespace reckon::ops
