#include "cli/machine.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>

#include "ops/kernel/gemm.h"
#include "runtime/core/error.h"

namespace reckon::cli {

double measure_matmul_rate(DType type, const DeviceSpec& spec) {
  constexpr int64_t n = 1024;
  const auto level = static_cast<IsaLevel>(spec.isa_level);
  const size_t operand = static_cast<size_t>(n * n) * size_of(type);
  const size_t workspace = ops::gemm_workspace_bytes(n, n, n, type, type, type, spec.threads, level);
  const auto make = [](size_t bytes) {
    const size_t rounded = (bytes + 63) / 64 * 64;
    auto* p = static_cast<std::byte*>(std::aligned_alloc(64, std::max<size_t>(rounded, 64)));
    RECKON_CHECK(p, "no memory for a {}-byte operand of the rate measurement", bytes);
    std::fill(p, p + bytes, std::byte{0});
    return std::unique_ptr<std::byte, void (*)(void*)>(p, std::free);
  };
  const auto a = make(operand), b = make(operand), c = make(operand), w = make(workspace);
  const ops::GemmProblem problem{.m = n, .n = n, .k = n, .a = {a.get(), type, n, 1}, .b = {b.get(), type, n, 1},
                                 .c = c.get(), .c_dtype = type, .c_row_stride = n, .c_col_stride = 1};
  double best = 0;
  for (int i = 0; i < 6; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    ops::gemm(problem, w.get(), spec.threads, level);
    const double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = std::max(best, 2.0 * n * n * n / s);
  }
  return best;
}

}  // namespace reckon::cli
