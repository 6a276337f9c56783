// What the three convolution ops are asked for. Read by their plans, the kernels of CPU and GPU and
// the emulated GPU's plain loops.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

// Positions of inputs.
struct ConvInput {
  enum : int { x, weight, bias, n_inputs };
};
struct ConvInputGradientInput {
  enum : int { dout, weight };
};
struct ConvWeightGradientInput {
  enum : int { dout, x };
};

struct ConvAttrs : Attrs {
  int64_t stride[2] = {1, 1}, padding[2] = {0, 0}, dilation[2] = {1, 1}, groups = 1;
  int64_t image[2] = {0, 0};   // H, W: for the input's gradient
  int64_t kernel[2] = {0, 0};  // kh, kw: for the weight's gradient
};

}  // namespace reckon::ops
