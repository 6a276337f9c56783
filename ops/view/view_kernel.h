// CPU kernel of pad, the gradient of a slice: its bytes where they were cut out, zeros around them. Included by
// view.cpp and once per instruction set.
#pragma once

#include "ops/kernel/cpu/parallel.h"
#include "ops/view/view_attrs.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// The input is contiguous; blocks of `inner` bytes per outer index, whatever the scalar.
template <class>
inline void pad_kernel(KernelArgs& a) {
  a.launch(0);
  const auto& t = a.as<SliceAttrs>();
  const TensorArg &x = a.in[0], &y = a.out[0];
  int64_t outer = 1, inner = static_cast<int64_t>(size_of(x.dtype));
  for (int i = 0; i < t.axis; ++i) outer *= x.shape[i];
  for (int i = t.axis + 1; i < x.rank; ++i) inner *= x.shape[i];
  const int64_t have = x.shape[t.axis] * inner, full = t.last * inner, before = t.first * inner;
  parallel_ranges(a, outer, full / 4, [&](int64_t first, int64_t last) {
    for (int64_t o = first; o < last; ++o) {
      std::byte* to = y.data + o * full;
      __builtin_memset(to, 0, before);
      __builtin_memcpy(to + before, x.data + o * have, have);
      __builtin_memset(to + before + have, 0, full - before - have);
    }
  });
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(pad)
