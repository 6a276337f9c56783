// The emulated GPU's matrix products: the CPU's, with the epilogues applied afterwards.
#include "ops/kernel/plan/device_gemm.h"
#include "ops/kernel/cpu/gemm.h"

#include <cmath>
#include <cstdlib>
#include <memory>
#include <vector>

#include "runtime/core/element.h"
#include "runtime/core/error.h"

namespace reckon::ops::gpu {
namespace {

constexpr float kGeluScale = 0.7978845608028654f, kGeluCube = 0.044715f;

float gelu(float x) { return 0.5f * x * (1 + std::tanh(kGeluScale * (x + kGeluCube * x * x * x))); }
float gelu_slope(float x) {
  const float t = std::tanh(kGeluScale * (x + kGeluCube * x * x * x));
  return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * kGeluScale * (1 + 3 * kGeluCube * x * x);
}

void apply(const GemmCall& call) {
  const GemmProblem& p = call.problem;
  const int64_t batches = call.batch.rank == 1 ? call.batch.size[0] : 1;
  for (int64_t b = 0; b < batches; ++b)
    for (int64_t i = 0; i < p.m; ++i)
      for (int64_t j = 0; j < p.n; ++j) {
        const int64_t at = b * call.batch.c_stride[0] + i * p.c_row_stride + j * p.c_col_stride;
        auto v = static_cast<float>(load_element(p.c, p.c_dtype, at));
        switch (call.epilogue) {
          case GemmEpilogue::none:
            break;
          case GemmEpilogue::relu:
            v = 0 > v ? 0 : v;
            break;
          case GemmEpilogue::gelu_tanh:
            if (call.aux) store_element(call.aux, p.c_dtype, at, v);
            v = gelu(v);
            break;
          case GemmEpilogue::gelu_tanh_gradient:
            v *= gelu_slope(static_cast<float>(load_element(call.aux, p.c_dtype, at)));
            break;
        }
        store_element(p.c, p.c_dtype, at, v);
      }
}

}  // namespace

void library_gemm(const KernelArgs& args, int launch_index, const GemmCall& call, void* workspace,
                  size_t workspace_bytes) {
  args.launch(launch_index);
  RECKON_CHECK(library_takes(call),
               "a library product got operands that it does not take: the plan must convert them");
  RECKON_CHECK(workspace && workspace_bytes > 0, "a library product needs its workspace");
  const GemmProblem& p = call.problem;
  const size_t bytes = batched_gemm_workspace_bytes(p.m, p.n, p.k, call.batch.count(), p.a.dtype, p.b.dtype,
                                                    p.c_dtype, 1, cpu_isa_level());
  const std::unique_ptr<void, decltype(&std::free)> scratch(std::aligned_alloc(64, (bytes + 127) / 64 * 64),
                                                            std::free);
  batched_gemm(p, call.batch, scratch.get(), 1);
  if (call.epilogue != GemmEpilogue::none) apply(call);
}

}  // namespace reckon::ops::gpu
