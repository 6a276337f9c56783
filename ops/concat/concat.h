// Joins tensors along one axis. All parts have the same type, rank and other extents; any strides. Keeps
// nothing: the gradients are views of the output's gradient.
#pragma once

#include <span>

#include "ops/op.h"

namespace reckon::ops {

Tensor concat(std::span<const Tensor> parts, int axis);
inline Tensor concat(std::initializer_list<Tensor> parts, int axis) {
  return concat(std::span<const Tensor>(parts.begin(), parts.size()), axis);
}

}  // namespace reckon::ops
