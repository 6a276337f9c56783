// Matrix products of GPU kernels: one library call, one planned launch of kind library. On a GPU cuBLASLt with
// a workspace that belongs to the plan (gpu/library/device_gemm.cu); in the emulator the CPU's products with
// the same epilogues (simt/device_gemm.cpp). Sums in f32, TF32 never used, results deterministic.
#pragma once

#include "ops/kernel/kernel_args.h"
#include "ops/kernel/plan/product.h"

namespace reckon::ops::gpu {

enum class GemmEpilogue : uint8_t {
  none,                // c = alpha a b (+ bias) (+ c)
  relu,                // then max(0, .)
  gelu_tanh,           // then the tanh form of GELU; `aux` (c's shape and type), when given, keeps what went in
  gelu_tanh_gradient,  // times the derivative of GELU at `aux`
};

struct GemmCall {
  GemmProblem problem;
  GemmBatch batch{};  // rank 0 or 1
  GemmEpilogue epilogue = GemmEpilogue::none;
  void* aux = nullptr;
};

// Whether a matrix is dense along its rows or its columns, without overlap.
bool has_unit_stride(int64_t rows, int64_t cols, int64_t row_stride, int64_t col_stride);

// What one call can do; the plan must see to the rest (ops/matmul shows how): a and b of one type of f32, bf16
// and f16, c of that type or f32, the bias of c's type, every operand with a unit stride along rows or columns,
// at most one batch axis. Pure: uses shapes, strides and types only.
bool library_takes(const GemmCall& call);

// `workspace_bytes` is DeviceSpec::library_workspace_bytes, a workspace of the plan.
void library_gemm(const KernelArgs& args, int launch_index, const GemmCall& call, void* workspace,
                  size_t workspace_bytes);

}  // namespace reckon::ops::gpu
