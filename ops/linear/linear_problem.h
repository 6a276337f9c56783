// Translates a linear call into the GEMM's terms. Pure in shapes: the CPU's kernel,
// the GPU's and its plan call it.
#pragma once

#include "ops/kernel/cpu/gemm.h"
#include "ops/kernel/kernel_args.h"
#include "ops/linear/linear_inputs.h"

namespace reckon::ops {

// in: as in LinearInput, x [.., k], weight [n, k], bias [n] or absent; out [.., n].
inline GemmProblem linear_problem(const TensorArg* in, const TensorArg& out) {
  const TensorArg &x = in[LinearInput::x], &w = in[LinearInput::weight], &bias = in[LinearInput::bias];
  const int64_t n = w.shape[0], k = w.shape[1];
  int64_t m = 1;
  for (int i = 0; i < x.rank - 1; ++i) m *= x.shape[i];
  return {.m = m,
          .n = n,
          .k = k,
          .a = {x.data, x.dtype, k, 1},
          .b = {w.data, w.dtype, 1, k},
          .c = out.data,
          .c_dtype = out.dtype,
          .c_row_stride = n,
          .c_col_stride = 1,
          .bias = bias.data,
          .bias_dtype = bias.dtype};
}

}  // namespace reckon::ops
