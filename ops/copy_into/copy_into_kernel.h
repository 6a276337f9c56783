// CPU kernel of copy_into: copies a tensor over a slice of another, element by element as they lie in memory.
// Included by copy_into.cpp and once per instruction set.
#pragma once

#include "ops/copy_into/copy_into_inputs.h"
#include "ops/kernel/cpu/parallel.h"

namespace reckon::ops::RECKON_ISA {
namespace {

template <class S>
inline void copy_rows(const KernelArgs& a) {
  const TensorArg &to = a.out[0], &from = a.in[copy_into_in::source];
  const int64_t width = to.last(), rows = to.rows();
  const int axes = to.rank - 1;
  const int64_t to_step = axes < 0 ? 1 : to.strides[axes], from_step = axes < 0 ? 1 : from.strides[axes];
  parallel_ranges(a, rows, width, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      int64_t rest = row, out = 0, in = 0;
      for (int d = axes - 1; d >= 0; --d) {
        const int64_t at = rest % to.shape[d];
        rest /= to.shape[d];
        out += at * to.strides[d];
        in += at * from.strides[d];
      }
      S* y = to.as<S>() + out;
      const S* x = from.as<S>() + in;
      if (to_step == 1 && from_step == 1) {
        __builtin_memcpy(y, x, static_cast<size_t>(width) * sizeof(S));
      } else {
        for (int64_t i = 0; i < width; ++i) y[i * to_step] = x[i * from_step];
      }
    }
  });
}

// Bytes are moved as they are, whatever the scalar.
template <class>
inline void copy_into_kernel(KernelArgs& a) {
  a.launch(0);
  switch (size_of(a.out[0].dtype)) {
    case 8:
      copy_rows<uint64_t>(a);
      break;
    case 4:
      copy_rows<uint32_t>(a);
      break;
    case 2:
      copy_rows<uint16_t>(a);
      break;
    default:
      copy_rows<uint8_t>(a);
  }
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(copy_into)
