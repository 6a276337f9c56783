// Matrix products on the CPU: c = alpha * a * b (+ bias) (+ c), with any strides and any mix of f32, bf16 and
// f16 (sums in f32), or all f64. Called by the matrix-product ops. Never allocates: the caller passes a
// workspace whose size follows from shapes, dtypes, thread count and ISA level alone. Results do not depend on
// the thread count.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/kernel/isa.h"
#include "runtime/core/dtype.h"

namespace reckon::ops {

struct GemmOperand {
  const void* data = nullptr;
  DType dtype = DType::f32;
  int64_t row_stride = 0;  // strides count elements; 0 repeats one row or column
  int64_t col_stride = 0;
};

struct GemmProblem {
  int64_t m = 0, n = 0, k = 0;
  GemmOperand a;      // m x k
  GemmOperand b;      // k x n
  void* c = nullptr;  // must not overlap a, b or bias
  DType c_dtype = DType::f32;
  int64_t c_row_stride = 0, c_col_stride = 0;
  double alpha = 1.0;
  bool accumulate = false;     // add to what c holds
  const void* bias = nullptr;  // n elements, added to each row
  DType bias_dtype = DType::f32;
};

// Where the products of a batch lie: up to four dimensions, the last one innermost, element strides, 0 =
// shared.
struct GemmBatch {
  static constexpr int kMaxRank = 4;
  int rank = 0;
  int64_t size[kMaxRank] = {1, 1, 1, 1};
  int64_t a_stride[kMaxRank] = {}, b_stride[kMaxRank] = {}, c_stride[kMaxRank] = {};
  RECKON_INLINE int64_t count() const {
    int64_t n = 1;
    for (int d = 0; d < rank; ++d) n *= size[d];
    return n;
  }
};

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
