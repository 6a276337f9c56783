// x where the mask is zero, `value` where it is not. The mask is u8 or a float type and broadcasts to x's
// shape; the result has x's shape and type. Keeps the mask alone.
#pragma once

#include "ops/elementwise/formula.h"

namespace reckon::ops {

Tensor masked_fill(const Tensor& x, const Tensor& mask, double value);

struct MaskedFillAttrs : Attrs {
  explicit MaskedFillAttrs(double v) : value(v) {}
  double value;
};

namespace RECKON_ISA {
namespace {

struct MaskedFill : OfTwo {
  static constexpr const char* name = "masked_fill";
  static constexpr PerElement cost{};  // a comparison that selects costs nothing
  using Constants = Attributes<&MaskedFillAttrs::value>;
  RECKON_FORMULA C f(C x, C mask, C value) { return mask == C(0) ? x : value; }
};
using masked_fill_formulas = Formulas<MaskedFill>;

}  // namespace
}  // namespace RECKON_ISA
}  // namespace reckon::ops
