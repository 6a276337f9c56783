#pragma once

#include "ops/binary/binary_attrs.h"
#include "ops/kernel/cpu/elementwise.h"

namespace reckon::ops::RECKON_ISA {
namespace {

template <class C>
inline void add_kernel(KernelArgs& a) {
  map_binary<C>(
      a, [](C x, C y) __attribute__((always_inline)) { return x + y; });
}
template <class C>
inline void sub_kernel(KernelArgs& a) {
  map_binary<C>(
      a, [](C x, C y) __attribute__((always_inline)) { return x - y; });
}
template <class C>
inline void mul_kernel(KernelArgs& a) {
  map_binary<C>(
      a, [](C x, C y) __attribute__((always_inline)) { return x * y; });
}
template <class C>
inline void div_kernel(KernelArgs& a) {
  map_binary<C>(
      a, [](C x, C y) __attribute__((always_inline)) { return x / y; });
}
template <class C>
inline void affine_kernel(KernelArgs& a) {
  const auto& t = a.as<AffineAttrs>();
  const C scale = C(t.scale), shift = C(t.shift);
  map_unary<C>(
      a, [ scale, shift ](C x) __attribute__((always_inline)) { return scale * x + shift; });
}
template <class C>
inline void scale_kernel(KernelArgs& a) {
  const C scale = C(a.as<AffineAttrs>().scale);
  map_unary<C>(
      a, [scale](C x) __attribute__((always_inline)) { return scale * x; });
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(add)
RECKON_KERNEL(sub)
RECKON_KERNEL(mul)
RECKON_KERNEL(div)
RECKON_KERNEL(affine)
RECKON_KERNEL(scale)
