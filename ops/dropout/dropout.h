// Dropout with masks that are a pure function of a key and the element's position in the mask, so that any
// split of the work and any recomputation gives the same bits. `shared_axes` get one mask for all their
// positions (extent 1 in the mask: row- and column-wise dropout). Kept elements are multiplied by 1 / (1 - p).
// p = 0 runs no dropout at all.
#pragma once

#include "ops/dropout/dropout_attrs.h"
#include "ops/op.h"

namespace reckon::ops {

// Keeps its mask, one byte per mask element.
Tensor dropout(const Tensor& x, double p, DropoutKey key, const Dims& shared_axes = {});

// residual + dropout(x): keeps nothing, backward draws the mask again. Same bits as add(residual, dropout(x,
// ..)) in f32 and f64. residual and x have one shape.
Tensor dropout_add(const Tensor& residual, const Tensor& x, double p, DropoutKey key,
                   const Dims& shared_axes = {});

// Whether mask element `i` keeps its value: the Philox block of counter i / 4,
// word i % 4, is at least p * 2^32.
bool dropout_keeps(DropoutKey key, double p, int64_t i);

}  // namespace reckon::ops
