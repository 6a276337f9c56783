// Library products of what lies well, and packed copies of what does not: see ops/kernel/plan/device_product.h.
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/run_product.h"
#include "ops/matmul/batched_shape.h"

namespace reckon::ops::gpu {
namespace {

void matmul_gpu(KernelArgs& args) {
  const BatchedShape s = batched_shape(args.in[0], args.in[1], args.out[0]);
  const GemmProblem p = matmul_problem(s, args.in[0], args.in[1], args.out[0]);
  run_product(args, 0, product_steps(p, s.batch), p, args.workspace);
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(matmul) { return {{"matmul", matmul_gpu}}; }
