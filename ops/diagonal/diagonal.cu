// A tensor's elements on the diagonal of two axes, zeros elsewhere. The diagonal
// itself is a view and has no kernel.
#include "ops/diagonal/diagonal_attrs.h"
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/launch.cuh"
#include "ops/kernel/gpu/walk.cuh"
#include "ops/kernel/gpu/words.cuh"

namespace reckon::ops::gpu {
namespace {

// A word's number in the output [a.., d, b.., d, c..]: words of c, second axis, b, first axis.
struct Placement {
  Split by_word, by_second, by_middle, by_first;
  int64_t count = 0;
};

template <class W>
__global__ void __launch_bounds__(kCopyThreads)
    place_words(const W* __restrict__ x, W* __restrict__ y, const __grid_constant__ Placement p) {
  const int64_t first = int64_t{blockIdx.x} * (kCopyThreads * kWordsPerThread) + threadIdx.x;
#pragma unroll
  for (int g = 0; g < kWordsPerThread; ++g) {
    const int64_t i = first + g * kCopyThreads;
    if (i >= p.count) break;
    int64_t word, second, middle, row;
    const int64_t before_second = p.by_second(p.by_word(i, &word), &second);
    p.by_first(p.by_middle(before_second, &middle), &row);
    y[i] = row == second ? x[before_second * p.by_word.by + word] : W{};
  }
}

void place_diagonal_gpu(KernelArgs& a) {
  const auto& t = a.as<DiagonalAttrs>();
  const TensorArg &x = a.in[0], &y = a.out[0];
  int64_t middle = 1, run = static_cast<int64_t>(size_of(y.dtype));
  for (int i = t.first + 1; i < t.second; ++i) middle *= y.shape[i];
  for (int i = t.second + 1; i < y.rank; ++i) run *= y.shape[i];
  int64_t word = word_of(run);
  for (const void* p : {static_cast<const void*>(x.data), static_cast<const void*>(y.data)})
    word = word_of(p) < word ? word_of(p) : word;
  const int64_t count = y.numel() * static_cast<int64_t>(size_of(y.dtype)) / word;
  const Placement p{Split(run / word, count), Split(y.shape[t.second], count), Split(middle, count),
                    Split(y.shape[t.first], count), count};
  with_word(word, [&](auto w) {
    using W = decltype(w);
    launch(a, 0, place_words<W>, blocks_for(count, kCopyThreads * kWordsPerThread), kCopyThreads, 0, x.as<W>(),
           y.as<W>(), p);
  });
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(diagonal) { return {{"place_diagonal", place_diagonal_gpu}}; }
