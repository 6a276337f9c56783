// Kernels that run over a list of tensors in one launch: the elements of each tensor in chunks of fixed size,
// so that what a chunk computes never depends on the number of threads. Included once per instruction set.
#pragma once

#include "ops/kernel/cpu/elementwise.h"

namespace reckon::ops {

inline constexpr int64_t kListChunk = 4096;
RECKON_INLINE constexpr int64_t list_chunks(int64_t n_elements) {
  return (n_elements + kListChunk - 1) / kListChunk;
}

namespace RECKON_ISA {
namespace {

// body(tensor, first element, count, number of the chunk) for every chunk of `n` contiguous tensors.
template <class F>
inline void for_each_chunk(const KernelArgs& args, const TensorArg* tensors, int n, int64_t work_per_element,
                           F&& body) {
  int64_t total = 0;
  for (int t = 0; t < n; ++t) total += list_chunks(tensors[t].numel());
  parallel_ranges(args, total, kListChunk * work_per_element, [&](int64_t first, int64_t last) {
    int t = 0;
    int64_t before = 0;  // chunks of the tensors before t
    for (int64_t chunk = first; chunk < last; ++chunk) {
      while (chunk - before >= list_chunks(tensors[t].numel())) before += list_chunks(tensors[t++].numel());
      const int64_t start = (chunk - before) * kListChunk, rest = tensors[t].numel() - start;
      body(t, start, rest < kListChunk ? rest : kListChunk, chunk);
    }
  });
}

// body(offset, count) for the tiles of a chunk.
template <class F>
RECKON_INLINE void for_each_tile(int64_t start, int64_t count, F&& body) {
  for (int64_t i = 0; i < count; i += kTile) body(start + i, count - i < kTile ? count - i : int64_t{kTile});
}

// A one-element tensor's value, `otherwise` where it is absent.
template <class C>
RECKON_INLINE C scalar_or(const TensorArg& t, C otherwise) {
  if (!t.defined()) return otherwise;
  C cell;
  return *load_tile<C>(t.data, t.dtype, 0, 1, 1, &cell);
}

template <class C>
RECKON_INLINE bool is_set(const TensorArg& flag) {
  return !(scalar_or<C>(flag, C(0)) == C(0));
}

}  // namespace
}  // namespace RECKON_ISA
}  // namespace reckon::ops
