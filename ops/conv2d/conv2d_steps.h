// What a convolution op does on a GPU: its two operands in the type that holds both, converted
// where they are not, one library call, and forward the bias on top. Pure in types and sizes: the
// plan lists what the kernel does.
#pragma once

#include "ops/conv2d/conv2d_attrs.h"

namespace reckon::ops {

struct ConvSteps {
  struct Operand {
    DType dtype;
    int64_t elements;
  };
  Operand operands[2];
  bool adds_bias = false;

  DType type() const { return operands[0].dtype == operands[1].dtype ? operands[0].dtype : DType::f32; }
  bool converts(int i) const { return operands[i].dtype != type(); }
  size_t converted_bytes(int i) const {
    const auto bytes = static_cast<size_t>(operands[i].elements) * size_of(type());
    return bytes > 64 ? bytes : 64;
  }
};

}  // namespace reckon::ops
