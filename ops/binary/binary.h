// Elementwise arithmetic of two tensors with broadcasting, and of a tensor with a constant. Mixed float types
// give the wider one. Keeps for backward only the operand the other one's gradient needs.
#pragma once

#include "ops/elementwise/formula.h"

namespace reckon::ops {

Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor div(const Tensor& a, const Tensor& b);
Tensor affine(const Tensor& x, double scale, double shift);  // scale * x + shift
Tensor scale(const Tensor& x, double factor);

// Writes a += b into a's storage; no gradient. Shapes must be equal, a contiguous. A b that overlaps a in another
// layout is copied first.
void accumulate(Tensor& a, const Tensor& b);

struct AffineAttrs : Attrs {
  AffineAttrs(double scale_, double shift_) : scale(scale_), shift(shift_) {}
  double scale, shift;
};

namespace RECKON_ISA {
namespace {

struct Add : OfTwo {
  static constexpr const char* name = "add";
  static constexpr PerElement cost{.flops = 1};
  RECKON_FORMULA C f(C a, C b) { return a + b; }
};
struct Sub : OfTwo {
  static constexpr const char* name = "sub";
  static constexpr PerElement cost{.flops = 1};
  RECKON_FORMULA C f(C a, C b) { return a - b; }
};
struct Mul : OfTwo {
  static constexpr const char* name = "mul";
  static constexpr PerElement cost{.flops = 1};
  RECKON_FORMULA C f(C a, C b) { return a * b; }
};
struct Div : OfTwo {
  static constexpr const char* name = "div";
  static constexpr PerElement cost{.flops = 1};
  RECKON_FORMULA C f(C a, C b) { return a / b; }
};
struct Affine : OfOne {
  static constexpr const char* name = "affine";
  static constexpr PerElement cost{.flops = 2};
  using Constants = Attributes<&AffineAttrs::scale, &AffineAttrs::shift>;
  RECKON_FORMULA C f(C x, C scale, C shift) { return scale * x + shift; }
};
struct Scale : OfOne {  // a shift of 0 is not added
  static constexpr const char* name = "scale";
  static constexpr PerElement cost{.flops = 1};
  using Constants = Attributes<&AffineAttrs::scale, &AffineAttrs::shift>;
  RECKON_FORMULA C f(C x, C scale, C) { return scale * x; }
};
struct Accumulate : Add {
  static constexpr const char* name = "accumulate";
};
using binary_formulas = Formulas<Add, Sub, Mul, Div, Affine, Scale, Accumulate>;

}  // namespace
}  // namespace RECKON_ISA
}  // namespace reckon::ops
