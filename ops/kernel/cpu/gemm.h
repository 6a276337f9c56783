// Matrix products on the CPU: c = alpha * a * b (+ bias) (+ c), with any strides and any mix of f32,
// bf16 and f16 (sums in f32), or all f64. Called by the matrix-product ops. Never allocates: the caller
// passes a workspace whose size follows from shapes, dtypes, thread count and ISA level alone. Results
// do not depend on the thread count.
#pragma once

#include <cstddef>

#include "ops/kernel/cpu/isa.h"
#include "ops/kernel/plan/product.h"

namespace reckon::ops {

// The workspace must be aligned to this many bytes.
constexpr size_t kGemmWorkspaceAlignment = 64;

// Bytes that cover every choice of strides, bias and alpha. Pure: nothing about the machine enters.
size_t gemm_workspace_bytes(int64_t m, int64_t n, int64_t k, DType a, DType b, DType c, int threads,
                            IsaLevel level);
size_t batched_gemm_workspace_bytes(int64_t m, int64_t n, int64_t k, int64_t batch, DType a, DType b, DType c,
                                    int threads, IsaLevel level);

// `level` must not exceed machine_isa_level(). Level amx uses tiles for bf16 x bf16 (denormal inputs and sums
// count as zero there, as the hardware defines it) and the v4 kernels for everything else.
void gemm(const GemmProblem& problem, void* workspace, int threads, IsaLevel level = cpu_isa_level());

// `problem` gives the shapes and the addresses of the first product.
void batched_gemm(const GemmProblem& problem, const GemmBatch& batch, void* workspace, int threads,
                  IsaLevel level = cpu_isa_level());

}  // namespace reckon::ops
