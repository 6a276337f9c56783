// CPU kernel of concat: moves bytes, so the element type and the scalar do not matter. Included by
// concat.cpp and once per instruction set.
#pragma once

#include "ops/concat/concat_attrs.h"
#include "ops/kernel/cpu/parallel.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// Per part: row-major runs that lie together in the output, `pitch` bytes apart.
template <class S>
inline void copy_part(const KernelArgs& a, const TensorArg& x, int axis, std::byte* to, int64_t pitch) {
  int64_t outer = 1, run = 1;
  for (int i = 0; i < axis; ++i) outer *= x.shape[i];
  for (int i = axis; i < x.rank; ++i) run *= x.shape[i];
  if (outer * run == 0) return;
  bool dense = true;  // the run, in the part
  for (int64_t i = x.rank - 1, step = 1; i >= axis; step *= x.shape[i--])
    dense = dense && (x.shape[i] == 1 || x.strides[i] == step);
  parallel_ranges(a, outer, run, [&](int64_t first, int64_t last) {
    for (int64_t o = first; o < last; ++o) {
      int64_t rest = o, from = 0;
      for (int d = axis - 1; d >= 0; --d) {
        from += rest % x.shape[d] * x.strides[d];
        rest /= x.shape[d];
      }
      S* out = reinterpret_cast<S*>(to + o * pitch);
      if (dense) {
        __builtin_memcpy(out, x.as<S>() + from, static_cast<size_t>(run) * sizeof(S));
        continue;
      }
      const int64_t inner = x.shape[x.rank - 1], step = x.strides[x.rank - 1];
      for (int64_t row = 0; row < run / inner; ++row) {
        int64_t left = row, at = from;
        for (int d = x.rank - 2; d >= axis; --d) {
          at += left % x.shape[d] * x.strides[d];
          left /= x.shape[d];
        }
        for (int64_t i = 0; i < inner; ++i) out[row * inner + i] = x.as<S>()[at + i * step];
      }
    }
  });
}

// Bytes are moved as they are, whatever the scalar.
template <class>
inline void concat_kernel(KernelArgs& a) {
  a.launch(0);
  const int axis = a.as<ConcatAttrs>().axis;
  const TensorArg& y = a.out[0];
  const int64_t element = static_cast<int64_t>(size_of(y.dtype));
  int64_t inner = element;
  for (int i = axis + 1; i < y.rank; ++i) inner *= y.shape[i];
  std::byte* to = y.data;
  for (int k = 0; k < a.n_in; ++k) {
    const TensorArg& x = a.in[k];
    switch (element) {
      case 8:
        copy_part<uint64_t>(a, x, axis, to, y.shape[axis] * inner);
        break;
      case 4:
        copy_part<uint32_t>(a, x, axis, to, y.shape[axis] * inner);
        break;
      case 2:
        copy_part<uint16_t>(a, x, axis, to, y.shape[axis] * inner);
        break;
      default:
        copy_part<uint8_t>(a, x, axis, to, y.shape[axis] * inner);
    }
    to += x.shape[axis] * inner;
  }
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(concat)
