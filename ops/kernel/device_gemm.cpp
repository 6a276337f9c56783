#include "ops/kernel/device_gemm.h"

namespace reckon::ops::gpu {
namespace {

// Rows or columns lie densely, and the other stride does not make them overlap.
bool has_unit_stride(int64_t rows, int64_t cols, int64_t row_stride, int64_t col_stride) {
  const bool by_row = (col_stride == 1 || cols <= 1) && (rows <= 1 || row_stride >= cols);
  const bool by_column = (row_stride == 1 || rows <= 1) && (cols <= 1 || col_stride >= rows);
  return by_row || by_column;
}

}  // namespace

bool library_takes(const GemmCall& call) {
  const GemmProblem& p = call.problem;
  return p.a.dtype == p.b.dtype && (p.c_dtype == p.a.dtype || p.c_dtype == DType::f32) && p.a.dtype != DType::f64 &&
         call.batch.rank <= 1 && has_unit_stride(p.m, p.k, p.a.row_stride, p.a.col_stride) &&
         has_unit_stride(p.k, p.n, p.b.row_stride, p.b.col_stride) && has_unit_stride(p.m, p.n, p.c_row_stride, p.c_col_stride);
}

}  // namespace reckon::ops::gpu
