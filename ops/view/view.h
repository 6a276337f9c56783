// Differentiable views: they allocate nothing, launch nothing and share storage. `reshape` copies (op
// `contiguous`, visible in the books) when the strides do not allow a view. Where nothing changes they return x
// itself, with its graph, also where gradients are off.
#pragma once

#include "ops/op.h"

namespace reckon::ops {

Tensor permute(const Tensor& x, const Dims& axes);
Tensor transpose(const Tensor& x, int a, int b);
Tensor reshape(const Tensor& x, const Shape& shape);  // one extent may be -1
Tensor expand(const Tensor& x, const Shape& shape);
Tensor slice(const Tensor& x, int axis, int64_t first, int64_t last);  // [first, last)
Tensor unsqueeze(const Tensor& x, int axis);
Tensor squeeze(const Tensor& x, int axis);
// Equal pieces along an axis.
TensorList split(const Tensor& x, int axis, int n_pieces);
// A tensor of `extent` along `axis` that is zero but for x at [first, first
// + x.size(axis)); the gradient of a slice.
Tensor pad_with_zeros(const Tensor& x, int axis, int64_t first, int64_t extent);

}  // namespace reckon::ops
