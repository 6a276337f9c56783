// Launches over a list of contiguous tensors, which travels in the kernel's parameters.
#pragma once

#include "ops/kernel/gpu/fours.cuh"
#include "ops/kernel/gpu/launch.cuh"
#include "ops/kernel/plan/list_chunks.h"

namespace reckon::ops::gpu {

struct ListedTensor {
  void* data;
  int64_t n;
  unsigned first_block;  // in its launch
  DType dtype;
  bool fours;
};

struct TensorsOfLaunch {
  int n = 0;
  int first_tensor = 0;     // in the whole list
  int64_t first_chunk = 0;  // likewise
  ListedTensor tensor[kTensorsPerLaunch];
};
static_assert(sizeof(TensorsOfLaunch) < 30000);  // parameters end at 32764 bytes

inline constexpr int kListThreads = 256;

// What a block works on.
struct ListChunk {
  Elements of;
  int64_t first, last;  // elements
  int tensor;           // in the whole list
  int64_t index;        // of the chunk, in the whole list
  bool opens_tensor;
  bool fours;

  // f(v, n, i) for the values v[0 .. n) from element i on, n being 4 or 1.
  template <class F>
  __device__ __forceinline__ void each(F&& f) const {
    constexpr int at_once = 4, step = kListThreads * 4;
    const int64_t in_fours = fours ? first + (last - first) / 4 * 4 : first;
    for (int64_t i = first + threadIdx.x * 4; i < in_fours; i += step * at_once) {
      RawFour raw[at_once];
#pragma unroll
      for (int u = 0; u < at_once; ++u)
        if (i + u * step < in_fours) raw[u] = issue_four(of, i + u * step);
#pragma unroll
      for (int u = 0; u < at_once; ++u) {
        if (i + u * step >= in_fours) continue;
        float v[4];
        four_values(raw[u], of.dtype, v);
        f(v, 4, i + u * step);
      }
    }
    for (int64_t i = in_fours + threadIdx.x; i < last; i += kListThreads) {
      float v[4] = {load(of, i)};
      f(v, 1, i);
    }
  }
};

// The chunk of this block, by binary search over the tensors' first blocks.
__device__ __forceinline__ ListChunk chunk_of_block(const TensorsOfLaunch& l) {
  int low = 0;
  for (int high = l.n - 1; low < high;) {
    const int middle = (low + high + 1) / 2;
    if (l.tensor[middle].first_block <= blockIdx.x)
      low = middle;
    else
      high = middle - 1;
  }
  const ListedTensor& t = l.tensor[low];
  const int64_t chunk = gpu_list_chunk(t.n), first = int64_t{blockIdx.x - t.first_block} * chunk;
  return {.of = {t.data, t.dtype},
          .first = first,
          .last = first + chunk < t.n ? first + chunk : t.n,
          .tensor = l.first_tensor + low,
          .index = l.first_chunk + blockIdx.x,
          .opens_tensor = blockIdx.x == t.first_block,
          .fours = t.fours};
}

// Launches `index` and following, as many as gpu_list_launches says; returns the next index.
template <class... P, class... A>
int launch_over_list(const KernelArgs& a, int index, void (*kernel)(TensorsOfLaunch, P...),
                     const TensorArg* tensors, int n, A... arguments) {
  TensorsOfLaunch l;
  int64_t chunks = 0;
  for (int start = 0; start < n || start == 0; start += kTensorsPerLaunch) {
    l.first_tensor = start;
    l.first_chunk = chunks;
    l.n = n - start < kTensorsPerLaunch ? n - start : kTensorsPerLaunch;
    int64_t blocks = 0;
    for (int k = 0; k < l.n; ++k) {
      const TensorArg& t = tensors[start + k];
      l.tensor[k] = {t.data, t.numel(), static_cast<unsigned>(blocks), t.dtype, takes_fours(t, 4)};
      blocks += gpu_list_chunks(t.numel());
    }
    chunks += blocks;
    launch(a, index++, kernel, blocks_for(blocks, 1), kListThreads, 0, l, arguments...);
  }
  return index;
}

}  // namespace reckon::ops::gpu
