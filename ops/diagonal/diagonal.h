// The diagonal of two axes as a view, for equations that repeat a label (traces). Its gradient is a zero tensor
// with the diagonal filled in.
#pragma once

#include "ops/op.h"

namespace reckon::ops {

// x [.., n, .., n, ..] -> the same without axis `second`; element i of axis `first` is x[.., i, .., i, ..].
Tensor diagonal(const Tensor& x, int first, int second);

}  // namespace reckon::ops
