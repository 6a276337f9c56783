// Conversion between element types, rounding to nearest even. Its output has category `cast`, so that
// precision's price is a line of its own. Integers and f8 types convert to and from floats; f8 only as storage.
#pragma once

#include <span>

#include "ops/cast/cast_attrs.h"
#include "ops/op.h"

namespace reckon::ops {

Tensor cast(const Tensor& x, DType to);  // returns x itself when it has the type already
Tensor contiguous(const Tensor& x);      // row-major copy, or x itself when it is row-major already
Tensor copy(const Tensor& x);            // row-major copy in any case

// Casts of contiguous floats, all in one launch; at most kMostCasts of them. Records no gradient.
TensorList cast_all(std::span<const Tensor> list, DType to);

// For autograd, which shares the bytes of one cast between several recorded calls.
const OpDef& cast_definition();
const OpDef& cast_all_definition();
AttrsPtr cast_attrs(DType to);

}  // namespace reckon::ops
