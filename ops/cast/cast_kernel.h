// CPU kernels of cast and cast_all, by way of the compute type C, and of contiguous, which copies elements as
// they are. Included by cast.cpp, for f64 and for counting, and for f32 once per instruction set.
#pragma once

#include "ops/cast/cast_attrs.h"
#include "ops/kernel/cpu/tensor_list.h"

namespace reckon::ops::RECKON_ISA {
namespace {

template <class C>
inline void copy_elements(KernelArgs& a) {
  elementwise<C, 1, 1>(
      a,
      [](int64_t, const C* const* in, C* const* out, int64_t n) {
        if (in[0] == out[0]) return;
        for (int64_t i = 0; i < n; ++i) out[0][i] = in[0][i];
      },
      2);
}

template <class C>
inline void cast_kernel(KernelArgs& a) {
  a.launch(0);
  copy_elements<C>(a);
}

template <class C>
inline void cast_all_kernel(KernelArgs& a) {
  a.launch(0);
  for_each_chunk(a, a.in, a.n_in, 2, [&](int k, int64_t start, int64_t count, int64_t) {
    alignas(64) C cells[kTile];
    for_each_tile(start, count, [&](int64_t at, int64_t n) {
      const C* v = load_tile<C>(a.in[k].data, a.in[k].dtype, at, 1, n, cells);
      store_tile<C>(a.out[k].data, a.out[k].dtype, at, n, v);
    });
  });
}

template <class S>
inline void copy_raw(KernelArgs& a) {  // any strides, no conversion
  const TensorArg &x = a.in[0], &y = a.out[0];
  const int r = x.rank;
  const int64_t inner = r ? x.shape[r - 1] : 1, step = r ? x.strides[r - 1] : 1;
  const int64_t rows = inner ? y.numel() / inner : 0;
  parallel_ranges(a, rows, inner, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      int64_t rest = row, offset = 0;
      for (int d = r - 2; d >= 0; --d) {
        offset += rest % x.shape[d] * x.strides[d];
        rest /= x.shape[d];
      }
      const S* from = x.as<S>() + offset;
      S* to = y.as<S>() + row * inner;
      for (int64_t i = 0; i < inner; ++i) to[i] = from[i * step];
    }
  });
}

template <class C>
inline void contiguous_kernel(KernelArgs& a) {
  a.launch(0);
  switch (size_of(a.in[0].dtype)) {
    case 8:
      return copy_raw<uint64_t>(a);
    case 4:
      return copy_raw<uint32_t>(a);
    case 2:
      return copy_raw<uint16_t>(a);
    default:
      return copy_raw<uint8_t>(a);
  }
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(cast)
RECKON_KERNEL(cast_all)
RECKON_KERNEL(contiguous)
