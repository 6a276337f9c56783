// What the dropout ops are asked for: the key of their random numbers, the threshold and the axes that share a
// mask. Read by the plans and by the kernels of CPU and GPU, which must draw the same bits from it.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

// Positions of inputs; dropout and dropout_redraw take x alone.
namespace dropout_backward_in {
enum Input : int { g, mask };
}
namespace dropout_add_in {
enum Input : int { residual, x, n_inputs };
}

struct DropoutKey {
  uint64_t seed = 0, stream = 0;
};

struct DropoutAttrs : Attrs {
  DropoutAttrs(double p, DropoutKey key, uint32_t shared_axes);
  double scale;        // of kept elements
  uint32_t threshold;  // words below it drop
  DropoutKey key;
  uint32_t shared;  // bit i: axis i shares the mask
};

// dropout_redraw: the type of what it drops, where that is not the gradient's.
struct RedrawAttrs : DropoutAttrs {
  RedrawAttrs(const DropoutAttrs& a, DType x_) : DropoutAttrs(a), converts(true), x(x_) {}
  explicit RedrawAttrs(const DropoutAttrs& a) : DropoutAttrs(a) {}
  bool converts = false;
  DType x = DType::f32;
};

// Where neighbouring axes share the mask, element i of a contiguous tensor has mask element
// i / outer * inner + i % inner.
struct SharedRun {
  // There is at most one such run of axes, and four aligned elements have four aligned mask elements.
  bool in_fours = true;
  int64_t inner = 1, outer = 1;

  SharedRun(int rank, const int64_t* shape, uint32_t shared) {
    int runs = 0;
    bool before = false;
    for (int i = rank - 1; i >= 0; --i) {
      if (shape[i] == 1) continue;
      const bool now = (shared >> i) & 1u;
      runs += now && !before;
      before = now;
      if (runs == 0) inner *= shape[i];
      if (runs == 0 || now) outer *= shape[i];
    }
    in_fours = runs == 0 || (runs == 1 && inner % 4 == 0);
  }
};

}  // namespace reckon::ops
