// Products whose sums have no terms, which the libraries do not take: zeros, or the bias.
#pragma once

#include "ops/kernel/gpu/elements.cuh"
#include "ops/kernel/gpu/launch.cuh"

namespace reckon::ops::gpu {

inline constexpr int kEmptyProductThreads = 256;

// Element i takes bias[i / inner % n], where there is a bias.
static __global__ void __launch_bounds__(kEmptyProductThreads)
    empty_product(Elements to, Elements bias, int64_t total, int64_t inner, int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * kEmptyProductThreads + threadIdx.x;
  if (i < total) store(to, i, bias ? load(bias, i / inner % n) : 0.0f);
}

// `out` is contiguous; its biases lie `inner` elements apart.
inline void launch_empty_product(const KernelArgs& a, const TensorArg& out, const TensorArg& bias,
                                 int64_t inner) {
  const int64_t total = out.numel();
  launch(a, 0, empty_product, blocks_for(total, kEmptyProductThreads), kEmptyProductThreads, 0, elements(out),
         elements(bias), total, inner, bias.defined() ? bias.numel() : int64_t{1});
}

}  // namespace reckon::ops::gpu
