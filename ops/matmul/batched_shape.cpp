#include "ops/matmul/batched_shape.h"

#include "runtime/core/error.h"

namespace reckon::ops {

BatchedShape batched_shape(const TensorArg& a, const TensorArg& b, const TensorArg& out) {
  BatchedShape s;
  s.m = a.shape[a.rank - 2];
  s.k = a.shape[a.rank - 1];
  s.n = b.shape[b.rank - 1];
  GemmBatch& batch = s.batch;
  int64_t c_stride = 1;
  for (int i = 0; i < out.rank; ++i) c_stride *= out.shape[i];
  for (int i = 0; i < out.rank - 2; ++i) {
    const int64_t e = out.shape[i];
    c_stride /= e > 0 ? e : 1;
    const int ia = i - (out.rank - a.rank), ib = i - (out.rank - b.rank);
    const int64_t sa = ia < 0 || a.shape[ia] == 1 ? 0 : a.strides[ia];
    const int64_t sb = ib < 0 || b.shape[ib] == 1 ? 0 : b.strides[ib];
    if (e == 1) continue;
    const int last = batch.rank - 1;
    if (batch.rank > 0 && batch.a_stride[last] == sa * e && batch.b_stride[last] == sb * e &&
        batch.c_stride[last] == c_stride * e) {
      batch.size[last] *= e;
      batch.a_stride[last] = sa;
      batch.b_stride[last] = sb;
      batch.c_stride[last] = c_stride;
      continue;
    }
    RECKON_CHECK(batch.rank < GemmBatch::kMaxRank,
                 "a matrix product over more than {} independent batch axes: make an operand contiguous first",
                 GemmBatch::kMaxRank);
    batch.size[batch.rank] = e;
    batch.a_stride[batch.rank] = sa;
    batch.b_stride[batch.rank] = sb;
    batch.c_stride[batch.rank++] = c_stride;
  }
  return s;
}

GemmProblem matmul_problem(const BatchedShape& s, const TensorArg& a, const TensorArg& b,
                           const TensorArg& out) {
  return {.m = s.m,
          .n = s.n,
          .k = s.k,
          .a = {a.data, a.dtype, a.strides[a.rank - 2], a.strides[a.rank - 1]},
          .b = {b.data, b.dtype, b.strides[b.rank - 2], b.strides[b.rank - 1]},
          .c = out.data,
          .c_dtype = out.dtype,
          .c_row_stride = s.n > 0 ? s.n : 1,
          .c_col_stride = 1};
}

}  // namespace reckon::ops
