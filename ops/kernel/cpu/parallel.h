// Loops over independent pieces on OpenMP's pool. The split is static and results never depend on the number of
// threads: no reduction crosses a piece.
#pragma once

#include <cstdint>

#include "ops/kernel/kernel_args.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// body(first, last) over [0, n) in one piece per thread; alone when n * work_per_item (additions) is small.
template <class F>
inline void parallel_ranges(const KernelArgs& args, int64_t n, int64_t work_per_item, F&& body) {
  const int64_t total = n * (work_per_item > 0 ? work_per_item : 1);
  if (args.threads <= 1 || n <= 1 || total < 16384) {
    if (n > 0) body(int64_t{0}, n);
    return;
  }
  const int64_t pieces = n < args.threads ? n : args.threads;
#pragma omp parallel for schedule(static) num_threads(args.threads)
  for (int64_t p = 0; p < pieces; ++p) body(n * p / pieces, n * (p + 1) / pieces);
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA
