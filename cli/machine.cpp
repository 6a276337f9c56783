#include "cli/machine.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "cli/devices.h"
#include "ops/fill/fill.h"
#include "ops/kernel/cpu/gemm.h"
#include "ops/matmul/matmul.h"
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
  const ops::GemmProblem problem{.m = n,
                                 .n = n,
                                 .k = n,
                                 .a = {a.get(), type, n, 1},
                                 .b = {b.get(), type, n, 1},
                                 .c = c.get(),
                                 .c_dtype = type,
                                 .c_row_stride = n,
                                 .c_col_stride = 1};
  double best = 0;
  for (int i = 0; i < 6; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    ops::gemm(problem, w.get(), spec.threads, level);
    const double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = std::max(best, 2.0 * n * n * n / s);
  }
  return best;
}

double measure_gpu_matmul_rate(DType type) {
  constexpr int64_t n = 4096;
  const auto device = open_device(DeviceKind::cuda, {});
  const Tensor a = Tensor::empty(*device, {n, n}, type), b = Tensor::empty(*device, {n, n}, type);
  ops::fill_random(a, ops::Distribution::normal, 0, 1, 1, 0);
  ops::fill_random(b, ops::Distribution::normal, 0, 1, 1, 1);
  double best = 0;
  for (int i = 0; i < 6; ++i) {
    device->synchronize();
    const auto begin = std::chrono::steady_clock::now();
    const Tensor c = ops::matmul(a, b);
    device->synchronize();
    const double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = std::max(best, 2.0 * n * n * n / s);
  }
  return best;
}

double measure_copy_rate(int threads) {
  const size_t bytes = size_t{256} << 20;
  const auto make = [bytes] {
    auto* p = static_cast<char*>(std::aligned_alloc(4096, bytes));
    RECKON_CHECK(p, "no memory for the {}-byte buffers of the copy measurement", bytes);
    return std::unique_ptr<char, void (*)(void*)>(p, std::free);
  };
  const auto from = make(), to = make();
  const auto each = [&](const auto& work) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int p = 0; p < threads; ++p) {
      const size_t first = bytes / static_cast<size_t>(threads) * static_cast<size_t>(p);
      const size_t last =
          p + 1 == threads ? bytes : bytes / static_cast<size_t>(threads) * static_cast<size_t>(p + 1);
      work(first, last - first);
    }
  };
  each([&](size_t at, size_t n) { std::memset(from.get() + at, 1, n); });
  double best = 0;
  for (int i = 0; i < 6; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    each([&](size_t at, size_t n) { std::memcpy(to.get() + at, from.get() + at, n); });
    const double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = std::max(best, 2.0 * static_cast<double>(bytes) / s);
  }
  return best;
}

}  // namespace reckon::cli
