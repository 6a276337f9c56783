// CPU kernels of embedding and its table's gradient. Included by embedding.cpp, for f64 and for counting, and
// for f32 once per instruction set. They do not check the ids: embedding.cpp has done so.
#pragma once

#include "ops/embedding/embedding_attrs.h"
#include "ops/kernel/cpu/rows.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// in ids, table; out rows. The same bytes, whatever the type.
template <class C>
inline void embedding_kernel(KernelArgs& a) {
  a.launch(0);
  const TensorArg &ids = a.in[embedding_in::ids], &table = a.in[embedding_in::table], &y = a.out[0];
  const size_t row_bytes = static_cast<size_t>(table.shape[1]) * size_of(table.dtype);
  const int64_t* id = ids.as<int64_t>();
  parallel_ranges(a, ids.numel(), table.shape[1], [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i)
      __builtin_memcpy(y.data + static_cast<size_t>(i) * row_bytes,
                       table.data + static_cast<size_t>(id[i]) * row_bytes, row_bytes);
  });
}

// in g [n, H], ids [n]; out dtable [V, H]; workspaces: head of each table row's chain of positions [V], next
// position [n]. One addition per element of g; every table row is written once, in its own type. In f32 a long
// chain is added up in pieces of 256, as sums are: an id that fills the batch does not stop at 2^24.
template <class C>
inline void embedding_backward_kernel(KernelArgs& a) {
  const TensorArg &g = a.in[embedding_backward_in::g], &ids = a.in[embedding_backward_in::ids],
                  &dtable = a.out[0];
  const int64_t n = ids.numel(), vocabulary = dtable.shape[0], width = dtable.shape[1];
  const int64_t* id = ids.as<int64_t>();
  int32_t* head = reinterpret_cast<int32_t*>(a.workspace[0]);
  int32_t* next = reinterpret_cast<int32_t*>(a.workspace[1]);
  a.launch(0);  // from the last position to the first, so that a chain runs in the order of the ids
  for (int64_t v = 0; v < vocabulary; ++v) head[v] = -1;
  for (int64_t i = n - 1; i >= 0; --i) {
    next[i] = head[id[i]];
    head[id[i]] = static_cast<int32_t>(i);
  }
  a.launch(1);
  parallel_ranges(a, vocabulary, width, [&](int64_t first, int64_t last) {
    constexpr int32_t kPiece = sizeof(C) == sizeof(float) ? 256 : 0x7fffffff;
    alignas(64) C gb[kTile], sum[kTile], total[kTile];
    for (int64_t v = first; v < last; ++v) {
      if (head[v] < 0) {
        const size_t row_bytes = static_cast<size_t>(width) * size_of(dtable.dtype);
        __builtin_memset(dtable.data + static_cast<size_t>(v) * row_bytes, 0, row_bytes);
        continue;
      }
      for (int64_t j = 0; j < width; j += kTile) {
        const int64_t count = tile_count(width, j);
        for (int64_t k = 0; k < count; ++k) sum[k] = total[k] = C(0);
        int32_t terms = 0;
        bool several = false;
        for (int32_t i = head[v]; i >= 0; i = next[i]) {
          if (terms++ == kPiece) {
            for (int64_t k = 0; k < count; ++k) total[k] += sum[k], sum[k] = C(0);
            terms = 1, several = true;
          }
          const C* gv = load_tile<C>(g.data, g.dtype, i * width + j, 1, count, gb);
#pragma omp simd
          for (int64_t k = 0; k < count; ++k) sum[k] += gv[k];
        }
        for (int64_t k = 0; several && k < count; ++k) sum[k] += total[k];
        store_tile<C>(dtable.data, dtable.dtype, v * width + j, count, sum);
      }
    }
  });
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(embedding)
RECKON_KERNEL(embedding_backward)
