#include "ops/kernel/gpu/empty_product.cuh"
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/run_product.h"
#include "ops/linear/linear_problem.h"

namespace reckon::ops::gpu {
namespace {

void linear_gpu(KernelArgs& args) {
  const GemmProblem p = linear_problem(args.in, args.out[0]);
  if (p.k == 0) return launch_empty_product(args, args.out[0], args.in[LinearInput::bias], 1);
  run_product(args, 0, product_steps(p, {}), p, args.workspace);
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(linear) { return {{"linear", linear_gpu}}; }
