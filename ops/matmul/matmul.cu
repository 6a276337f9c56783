// Library products of what lies well, and packed copies of what does not: see ops/kernel/plan/device_product.h.
#include "ops/kernel/gpu/empty_product.cuh"
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/run_product.h"
#include "ops/matmul/batched_shape.h"
#include "ops/matmul/matmul_attrs.h"

namespace reckon::ops::gpu {
namespace {

void matmul_gpu(KernelArgs& args) {
  const TensorArg &a = args.in[MatmulInput::a], &b = args.in[MatmulInput::b], &out = args.out[0];
  const BatchedShape s = batched_shape(a, b, out);
  if (s.k == 0) return launch_empty_product(args, out, {}, 1);
  const GemmProblem p = matmul_problem(s, a, b, out);
  run_product(args, 0, product_steps(p, s.batch), p, args.workspace);
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(matmul) { return {{"matmul", matmul_gpu}}; }
