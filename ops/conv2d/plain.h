// The formulas of the three convolution ops as plain loops over a counting scalar, on tensors
// of f64; a tap outside the image multiplies a zero, as the matrix products do. Used by the
// cost test and by the emulated GPU.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

void plain_conv2d(KernelArgs& a);
void plain_conv2d_input_gradient(KernelArgs& a);
void plain_conv2d_weight_gradient(KernelArgs& a);

}  // namespace reckon::ops
