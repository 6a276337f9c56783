#include "ops/kernel/plan/device_gemm.h"

namespace reckon::ops::gpu {

bool has_unit_stride(int64_t rows, int64_t cols, int64_t row_stride, int64_t col_stride) {
  const bool by_row = (col_stride == 1 || cols <= 1) && (rows <= 1 || row_stride >= cols);
  const bool by_column = (row_stride == 1 || rows <= 1) && (cols <= 1 || col_stride >= rows);
  return by_row || by_column;
}

bool library_takes(const GemmCall& call) {
  const GemmProblem& p = call.problem;
  return p.a.dtype == p.b.dtype && (p.c_dtype == p.a.dtype || p.c_dtype == DType::f32) &&
         p.a.dtype != DType::f64 && (!p.bias || p.bias_dtype == p.c_dtype) && call.batch.rank <= 1 &&
         has_unit_stride(p.m, p.k, p.a.row_stride, p.a.col_stride) &&
         has_unit_stride(p.k, p.n, p.b.row_stride, p.b.col_stride) &&
         has_unit_stride(p.m, p.n, p.c_row_stride, p.c_col_stride);
}

}  // namespace reckon::ops::gpu
