// Rows picked by index, moved as bytes in the widest word that fits: out[o, k, :] = in[o, ids[k], :].
//
// A GPU cannot raise an error for an index outside [0, extent): such rows are filled with ones,
// which is NaN in every float type.
#pragma once

#include "ops/kernel/gpu/launch.cuh"
#include "ops/kernel/gpu/walk.cuh"
#include "ops/kernel/gpu/words.cuh"

namespace reckon::ops::gpu {

struct Gather {
  const std::byte* from = nullptr;
  std::byte* to = nullptr;
  const int64_t* ids = nullptr;
  int64_t extent = 0, count = 0;  // of the axis in `from`; words of `to`
  Split by_word, by_index;        // of a word's number: [outer, n, words of a row]
};

template <class W>
__global__ void __launch_bounds__(kCopyThreads) gather_words(const __grid_constant__ Gather t) {
  const int64_t first = int64_t{blockIdx.x} * (kCopyThreads * kWordsPerThread) + threadIdx.x;
  W words[kWordsPerThread];
#pragma unroll
  for (int g = 0; g < kWordsPerThread; ++g) {
    const int64_t i = first + g * kCopyThreads;
    if (i >= t.count) break;
    int64_t word, k;
    const int64_t outer = t.by_index(t.by_word(i, &word), &k), id = t.ids[k];
    if (id >= 0 && id < t.extent)
      words[g] = reinterpret_cast<const W*>(t.from)[(outer * t.extent + id) * t.by_word.by + word];
    else
      memset(&words[g], 0xff, sizeof(W));
  }
#pragma unroll
  for (int g = 0; g < kWordsPerThread; ++g) {
    const int64_t i = first + g * kCopyThreads;
    if (i >= t.count) break;
    reinterpret_cast<W*>(t.to)[i] = words[g];
  }
}

// Launch 0 of the plan; a row has `row_bytes`.
inline void gather_rows(const KernelArgs& a, const TensorArg& from, const TensorArg& ids, const TensorArg& to,
                        int64_t outer, int64_t extent, int64_t row_bytes) {
  int64_t word = word_of(row_bytes);
  for (const void* p : {static_cast<const void*>(from.data), static_cast<const void*>(to.data)})
    word = word_of(p) < word ? word_of(p) : word;
  const int64_t n = ids.numel(), count = outer * n * (row_bytes / word);
  const Gather t{from.data,      to.data, ids.as<int64_t>(), extent, count, Split(row_bytes / word, count),
                 Split(n, count)};
  with_word(word, [&](auto w) {
    launch(a, 0, gather_words<decltype(w)>, blocks_for(count, kCopyThreads * kWordsPerThread), kCopyThreads, 0,
           t);
  });
}

}  // namespace reckon::ops::gpu
