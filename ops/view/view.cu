// A tensor set into zeros along one axis. The other ops of this folder are views and launch nothing.
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/launch.cuh"
#include "ops/kernel/gpu/walk.cuh"
#include "ops/kernel/gpu/words.cuh"
#include "ops/view/slice_attrs.h"

namespace reckon::ops::gpu {
namespace {

// The output is [outer, axis and what follows it]; words [first, first + have) of the latter come from x.
template <class W>
__global__ void __launch_bounds__(kCopyThreads)
    pad_words(const W* __restrict__ x, W* __restrict__ y, Split by_outer, int64_t first, int64_t have,
              int64_t count) {
  const int64_t start = int64_t{blockIdx.x} * (kCopyThreads * kWordsPerThread) + threadIdx.x;
#pragma unroll
  for (int g = 0; g < kWordsPerThread; ++g) {
    const int64_t i = start + g * kCopyThreads;
    if (i >= count) break;
    int64_t at;
    const int64_t outer = by_outer(i, &at);
    y[i] = at >= first && at < first + have ? x[outer * have + at - first] : W{};
  }
}

void pad_gpu(KernelArgs& a) {
  const auto& t = a.as<SliceAttrs>();
  const TensorArg &x = a.in[0], &y = a.out[0];
  int64_t inner = static_cast<int64_t>(size_of(x.dtype));
  for (int i = t.axis + 1; i < x.rank; ++i) inner *= x.shape[i];
  const int64_t have = x.shape[t.axis] * inner, full = t.last * inner, before = t.first * inner;
  int64_t word = word_of(have | full | before);
  for (const void* p : {static_cast<const void*>(x.data), static_cast<const void*>(y.data)})
    word = word_of(p) < word ? word_of(p) : word;
  const int64_t count = y.numel() * static_cast<int64_t>(size_of(y.dtype)) / word;
  with_word(word, [&](auto w) {
    using W = decltype(w);
    launch(a, 0, pad_words<W>, blocks_for(count, kCopyThreads * kWordsPerThread), kCopyThreads, 0, x.as<W>(),
           y.as<W>(), Split(full / word, count), before / word, have / word, count);
  });
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(view) { return {{"pad_with_zeros", pad_gpu}}; }
