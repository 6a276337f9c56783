#pragma once

#include "ops/kernel/cpu/elementwise.h"
#include "ops/masked_fill/masked_fill_attrs.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// in x, mask; out y. A comparison that selects costs nothing.
template <class C>
inline void masked_fill_kernel(KernelArgs& a) {
  const C value = C(a.as<MaskedFillAttrs>().value);
  map_binary<C>(
      a, [value](C x, C mask) __attribute__((always_inline)) { return mask == C(0) ? x : value; });
}

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

RECKON_KERNEL(masked_fill)
