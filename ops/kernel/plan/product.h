// A matrix product as plans, CPU kernels and the GPU's library calls describe it: operands with any strides,
// and a batch of such products. Plain values; nothing here computes.
#pragma once

#include <cstdint>

#include "runtime/core/dtype.h"

namespace reckon::ops {

struct GemmOperand {
  const void* data = nullptr;
  DType dtype = DType::f32;
  int64_t row_stride = 0;  // strides count elements; 0 repeats one row or column
  int64_t col_stride = 0;
};

struct GemmProblem {
  int64_t m = 0, n = 0, k = 0;
  GemmOperand a;      // m x k
  GemmOperand b;      // k x n
  void* c = nullptr;  // must not overlap a, b or bias
  DType c_dtype = DType::f32;
  int64_t c_row_stride = 0, c_col_stride = 0;
  double alpha = 1.0;
  bool accumulate = false;     // add to what c holds
  const void* bias = nullptr;  // n elements, added to each row
  DType bias_dtype = DType::f32;
};

// Where the products of a batch lie: up to four dimensions, the last one
// innermost, element strides, 0 = shared.
struct GemmBatch {
  static constexpr int kMaxRank = 4;
  int rank = 0;
  int64_t size[kMaxRank] = {1, 1, 1, 1};
  int64_t a_stride[kMaxRank] = {}, b_stride[kMaxRank] = {}, c_stride[kMaxRank] = {};
  RECKON_INLINE int64_t count() const {
    int64_t n = 1;
    for (int d = 0; d < rank; ++d) n *= size[d];
    return n;
  }
};

}  // namespace reckon::ops
