// The products of fused GPU ops whose rows are wider than tiles, by the library: what
// ops/kernel/cpu/row_tiles.h offers them on the CPU. One planned launch each. Operands are dense and of one
// type, results of that type or f32.
#pragma once

#include "ops/kernel/plan/device_gemm.h"

namespace reckon::ops::gpu {

// A dense row-major matrix in memory, or none.
struct RowMatrix {
  std::byte* data = nullptr;
  DType dtype = DType::f32;
  int64_t width = 0;

  RowMatrix from_row(int64_t row) const {
    return {data ? data + row * width * static_cast<int64_t>(size_of(dtype)) : nullptr, dtype, width};
  }
  TensorArg argument(int64_t rows) const {
    TensorArg t{data, dtype, 2};
    t.shape[0] = rows, t.shape[1] = width;
    t.strides[0] = width, t.strides[1] = 1;
    return t;
  }
};

inline RowMatrix rows_of(const TensorArg& t) { return {t.data, t.dtype, t.last()}; }

struct LibraryRows {
  const KernelArgs& args;
  void* workspace;

  // y [m, out] = n [m, c] w^T (+ bias), with w [out, c].
  void multiply_by_weight(int index, int64_t m, RowMatrix n, const TensorArg& w, const TensorArg& bias,
                          RowMatrix y, GemmEpilogue epilogue = GemmEpilogue::none) const {
    run(index, {.problem = {.m = m,
                            .n = w.shape[0],
                            .k = w.shape[1],
                            .a = {n.data, n.dtype, n.width, 1},
                            .b = {w.data, w.dtype, 1, w.shape[1]},
                            .c = y.data,
                            .c_dtype = y.dtype,
                            .c_row_stride = y.width,
                            .c_col_stride = 1,
                            .bias = bias.data,
                            .bias_dtype = bias.dtype},
                .epilogue = epilogue});
  }

  // dn [m, c] (+)= dy [m, out] w.
  void multiply_back(int index, int64_t m, RowMatrix dy, const TensorArg& w, RowMatrix dn,
                     bool accumulate) const {
    run(index, {.problem = {.m = m,
                            .n = w.shape[1],
                            .k = w.shape[0],
                            .a = {dy.data, dy.dtype, dy.width, 1},
                            .b = {w.data, w.dtype, w.shape[1], 1},
                            .c = dn.data,
                            .c_dtype = dn.dtype,
                            .c_row_stride = dn.width,
                            .c_col_stride = 1,
                            .accumulate = accumulate}});
  }

  // dw [out, c] (+)= dy [m, out]^T n [m, c].
  void weight_gradient(int index, int64_t m, RowMatrix dy, RowMatrix n, RowMatrix dw, bool accumulate) const {
    run(index, {.problem = {.m = dy.width,
                            .n = n.width,
                            .k = m,
                            .a = {dy.data, dy.dtype, 1, dy.width},
                            .b = {n.data, n.dtype, n.width, 1},
                            .c = dw.data,
                            .c_dtype = dw.dtype,
                            .c_row_stride = dw.width,
                            .c_col_stride = 1,
                            .accumulate = accumulate}});
  }

 private:
  void run(int index, const GemmCall& call) const {
    library_gemm(args, index, call, workspace, args.library_workspace_bytes);
  }
};

}  // namespace reckon::ops::gpu
