// The plain triple loop that the cost test counts.
#pragma once

#include "ops/kernel/cpu/scalar.h"
#include "ops/matmul/batched_shape.h"

namespace reckon::ops {

namespace RECKON_ISA {
namespace {

template <class C>
inline void naive_product(const BatchedShape& s, const TensorArg& a, const TensorArg& b, const TensorArg& out) {
  const int ra = a.rank, rb = b.rank;
  const int64_t count = s.batch.count();
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i, oa = 0, ob = 0, oc = 0;
    for (int d = s.batch.rank - 1; d >= 0; --d) {
      const int64_t j = rest % s.batch.size[d];
      rest /= s.batch.size[d];
      oa += j * s.batch.a_stride[d];
      ob += j * s.batch.b_stride[d];
      oc += j * s.batch.c_stride[d];
    }
    const C *pa = a.as<C>() + oa, *pb = b.as<C>() + ob;
    C* pc = out.as<C>() + oc;
    for (int64_t m = 0; m < s.m; ++m)
      for (int64_t n = 0; n < s.n; ++n) {
        C acc = C(0);
        for (int64_t k = 0; k < s.k; ++k)
          acc += pa[m * a.strides[ra - 2] + k * a.strides[ra - 1]] *
                 pb[k * b.strides[rb - 2] + n * b.strides[rb - 1]];
        pc[m * s.n + n] = acc;
      }
  }
}

}  // namespace
}  // namespace RECKON_ISA
}  // namespace reckon::ops
