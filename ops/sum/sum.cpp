#include "ops/sum/sum.h"

#include "ops/binary/binary.h"
#include "ops/rules.h"
#include "ops/sum/sum_kernel.h"
#include "ops/view/view.h"

RECKON_DECLARE_CPU_KERNEL(sum_cpu)

namespace reckon::ops {
namespace {

Plan plan_sum(const PlanContext& c) {
  const auto& a = c.as<SumAttrs>();
  const Tensor& x = c.in[0];
  check_floating(x, "sum's input");
  Shape shape;
  for (int i = 0; i < x.rank(); ++i) {
    if (!((a.axes >> i) & 1u)) shape.push_back(x.shape()[i]);
    else if (a.keep_axes) shape.push_back(1);
  }
  Plan p;
  p.outputs = {{.shape = shape, .dtype = x.dtype(), .label = "sum"}};
  p.launches = {{"sum"}};
  p.cost.vector_flops = x.numel();  // one addition per element
  set_traffic(p, c);
  return p;
}

TensorList sum_backward(BackwardContext& c) {
  const auto& a = c.as<SumAttrs>();
  Shape kept = c.input_shapes[0];
  for (int i = 0; i < kept.rank(); ++i)
    if ((a.axes >> i) & 1u) kept[i] = 1;
  return {c.grads[0].reshaped(kept).expanded(c.input_shapes[0])};
}

uint32_t mask_of(const Dims& axes, int rank) {
  uint32_t mask = 0;
  for (int64_t a : axes) mask |= 1u << normalize_axis(static_cast<int>(a), rank);
  return mask;
}

const OpDef sum_op{.name = "sum", .fingerprint = fingerprint_by<&SumAttrs::axes, &SumAttrs::keep_axes>, .plan = plan_sum, .cpu = RECKON_CPU_KERNEL(sum_cpu), .reference = RECKON_ISA::sum_kernel<double>,
                   .counted = RECKON_ISA::sum_kernel<Counted>, .gradient = Gradient::differentiable, .backward = sum_backward,
                   .precision = Precision::fp32,
                   .cases = [] {
                     const auto attrs = [](uint32_t m, bool keep) { return std::make_shared<SumAttrs>(m, keep); };
                     return std::vector<OpCase>{
                         {.name = "last axis", .inputs = {normal({4, 700})}, .attrs = attrs(0b10, false)},
                         {.name = "first axis", .inputs = {normal({300, 70})}, .attrs = attrs(0b01, true)},
                         {.name = "outer and inner", .inputs = {normal({3, 4, 5})}, .attrs = attrs(0b101, false)},
                         {.name = "middle", .inputs = {normal({3, 4, 5})}, .attrs = attrs(0b010, false)},
                         {.name = "all", .inputs = {normal({3, 4})}, .attrs = attrs(0b11, false)},
                         {.name = "transposed", .inputs = {{.shape = {6, 7}, .transposed = true}}, .attrs = attrs(0b01, false)}};
                   }};

}  // namespace

Tensor sum(const Tensor& x, const Dims& axes, bool keep_axes) {
  return call(sum_op, {x}, std::make_shared<SumAttrs>(mask_of(axes, x.rank()), keep_axes))[0];
}

Tensor sum_all(const Tensor& x) { return call(sum_op, {x}, std::make_shared<SumAttrs>((1u << x.rank()) - 1u, false))[0]; }

Tensor mean(const Tensor& x, const Dims& axes, bool keep_axes) {
  int64_t n = 1;
  for (int64_t a : axes) n *= x.size(static_cast<int>(a));
  RECKON_CHECK(n > 0, "mean over no elements of {}", describe(x));
  return scale(sum(x, axes, keep_axes), 1.0 / static_cast<double>(n));
}

std::vector<const OpDef*> sum_ops() { return {&sum_op}; }

}  // namespace reckon::ops
