// Reading and adding slices of an axis by index. Indices are i64, contiguous, in [0, extent of the axis); one
// outside is an Error on the cpu. A GPU cannot raise one from a kernel: there index_select gives bytes of ones
// (NaN in float types), scatter_add leaves the slice out and one_hot gives zeros. Called by embeddings of
// relative positions and by gathers of model code.
#pragma once

#include "ops/op.h"

namespace reckon::ops {

// x [a.., n, b..], ids [i..] -> [a.., i.., b..]. Keeps only ids.
Tensor index_select(const Tensor& x, int axis, const Tensor& ids);

// x [a.., n, b..] plus, at ids[k] of the axis, slice k of src [a.., i.., b..]. Repeated indices add up
// in the order of `ids`, for any number of threads (on a GPU: in an order that depends on `ids`
// alone); sums are f32 (f64 for f64).
Tensor scatter_add(const Tensor& x, int axis, const Tensor& ids, const Tensor& src);

// ids [i..] -> [i.., n_classes]: 1 at the index, else 0. No gradient.
Tensor one_hot(const Tensor& ids, int64_t n_classes, DType dtype);

}  // namespace reckon::ops
