// Conversion between element types, rounding to nearest even. Its output has category `cast`, so that precision's
// price is a line of its own. Integers and f8 types convert to and from floats; f8 only as storage.
#pragma once

#include "ops/op.h"

namespace reckon::ops {

Tensor cast(const Tensor& x, DType to);  // returns x itself when it has the type already
Tensor contiguous(const Tensor& x);      // row-major copy, or x itself when it is row-major already

}  // namespace reckon::ops
