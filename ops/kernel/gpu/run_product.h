// Makes the launches of a product's steps. Called by GPU kernels' host code only: pack and library_gemm live in
// the plugin and in the emulator.
#pragma once

#include "ops/kernel/plan/device_product.h"

namespace reckon::ops::gpu {

// From `first_launch` on; returns the launch that follows. `problem` is the one the steps were made from, with
// its addresses; `workspace` holds what ProductSteps says.
inline int run_product(const KernelArgs& args, int first_launch, const ProductSteps& steps,
                       const GemmProblem& problem, std::byte* const* workspace) {
  int launch = first_launch, next = 1;
  const auto prepared = [&](const ProductSteps::Packed& p, const void* data, DType type) -> const std::byte* {
    if (!p.packs) return static_cast<const std::byte*>(data);
    std::byte* copy = workspace[next++];
    pack(args, launch++, data, type, copy, p.type, p.axes);
    return copy;
  };
  const std::byte* a = prepared(steps.a, problem.a.data, problem.a.dtype);
  const std::byte* b = prepared(steps.b, problem.b.data, problem.b.dtype);
  const std::byte* bias = prepared(steps.bias, problem.bias, problem.bias_dtype);
  GemmCall call = steps.call;
  const GemmProblem& p = steps.call.problem;
  const auto bytes = [](int64_t elements, DType t) { return elements * static_cast<int64_t>(size_of(t)); };
  for (int64_t i = 0; i < steps.calls(); ++i) {
    int64_t rest = i, at_a = 0, at_b = 0, at_c = 0;
    for (int d = steps.loop.rank - 1; d >= 0; --d) {
      const int64_t index = rest % steps.loop.size[d];
      rest /= steps.loop.size[d];
      at_a += index * steps.loop.a_stride[d];
      at_b += index * steps.loop.b_stride[d];
      at_c += index * steps.loop.c_stride[d];
    }
    call.problem.a.data = a + bytes(at_a, p.a.dtype);
    call.problem.b.data = b + bytes(at_b, p.b.dtype);
    call.problem.c = static_cast<std::byte*>(problem.c) + bytes(at_c, p.c_dtype);
    call.problem.bias = bias;
    library_gemm(args, launch++, call, workspace[0], args.library_workspace_bytes);
  }
  return launch;
}

}  // namespace reckon::ops::gpu
