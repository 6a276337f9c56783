// Translates a matmul call into the GEMM's terms. Pure in shapes and strides: the CPU's kernel,
// the GPU's and its plan call it.
#pragma once

#include "ops/kernel/cpu/gemm.h"
#include "ops/kernel/kernel_args.h"

namespace reckon::ops {

struct BatchedShape {
  int64_t m = 0, n = 0, k = 0;
  GemmBatch batch;
};

// Batch axes of a, b and the contiguous output, merged where all three step as one.
BatchedShape batched_shape(const TensorArg& a, const TensorArg& b, const TensorArg& out);

// The first product of the batch.
GemmProblem matmul_problem(const BatchedShape& s, const TensorArg& a, const TensorArg& b, const TensorArg& out);

}  // namespace reckon::ops
