#include "ops/sum/sum.h"

#include "ops/rules.h"
#include "ops/sum/sum_kernel.h"

namespace reckon::ops {
namespace {

Plan plan_sum(const PlanContext& c) {
  const auto& a = c.as<SumAttrs>();
  const Tensor& x = c.in[0];
  check_floating(x, "sum's input");
  Shape shape;
  for (int i = 0; i < x.rank(); ++i) {
    if (!((a.axes >> i) & 1u))
      shape.push_back(x.shape()[i]);
    else if (a.keep_axes)
      shape.push_back(1);
  }
  Plan p;
  p.outputs = {{.shape = shape, .dtype = a.wide ? accumulation_dtype(x.dtype()) : x.dtype(), .label = "sum"}};
  p.launches = {{"sum"}};
  p.cost.vector_flops = x.numel() + (a.divides() ? numel(shape) : 0);  // one addition per element
  set_traffic(p, c);
  return p;
}

void plan_sum_gpu(const PlanContext& c, Plan& p) {
  const Tensor& x = c.in[0];
  const SumWalk w = sum_walk(x.rank(), x.shape().begin(), x.strides().begin(), c.as<SumAttrs>().axes);
  if (w.pieces() == 1) return;
  p.workspaces = {{"sums of pieces", static_cast<size_t>(w.pieces() * w.n_out) * sizeof(float)}};
  p.launches = {{"sum"}, {"sum_pieces"}};
}

extern const OpDef sum_op;

TensorList sum_backward(BackwardContext& c) {
  const auto& a = c.as<SumAttrs>();
  Shape kept = c.input_shapes[0];
  for (int i = 0; i < kept.rank(); ++i)
    if ((a.axes >> i) & 1u) kept[i] = 1;
  Tensor g = c.grads[0];
  if (a.divides())
    g = call(sum_op, {g}, std::make_shared<SumAttrs>(0u, false, false, a.divisor))[0];  // of no axes
  return {g.reshaped(kept).expanded(c.input_shapes[0])};
}

const OpDef sum_op{
    .name = "sum",
    .fingerprint = fingerprint_by<&SumAttrs::axes, &SumAttrs::keep_axes, &SumAttrs::wide, &SumAttrs::divisor>,
    .plan = plan_sum,
    .kernels = sum_kernels,
    .layouts = {.any = ~0u},
    .gradient = Gradient::differentiable,
    .backward = sum_backward,
    .precision = Precision::fp32,
    .cases =
        [] {
          const auto attrs = [](uint32_t m, bool keep) { return std::make_shared<SumAttrs>(m, keep); };
          return std::vector<OpCase>{
              {.name = "last axis", .inputs = {normal({4, 700})}, .attrs = attrs(0b10, false)},
              {.name = "first axis", .inputs = {normal({300, 70})}, .attrs = attrs(0b01, true)},
              {.name = "outer and inner", .inputs = {normal({3, 4, 5})}, .attrs = attrs(0b101, false)},
              {.name = "middle", .inputs = {normal({3, 4, 5})}, .attrs = attrs(0b010, false)},
              {.name = "few long rows", .inputs = {normal({2, 9000})}, .attrs = attrs(0b10, false)},
              {.name = "few long rows, odd", .inputs = {normal({2, 8195})}, .attrs = attrs(0b10, false)},
              {.name = "first axis, wide",
               .inputs = {normal({30, 7})},
               .attrs = std::make_shared<SumAttrs>(0b01u, false, true)},
              {.name = "mean of rows",
               .inputs = {normal({30, 7})},
               .attrs = std::make_shared<SumAttrs>(0b10u, true, false, 7.0)},
              {.name = "mean of columns in pieces",
               .inputs = {normal({9000, 2})},
               .attrs = std::make_shared<SumAttrs>(0b01u, false, false, 9000.0)},
              {.name = "many rows", .inputs = {normal({260, 72})}, .attrs = attrs(0b01, false)},
              {.name = "several tiles of columns",
               .inputs = {normal({9, 2, 132})},
               .attrs = attrs(0b001, false)},
              {.name = "middle of fours", .inputs = {normal({6, 9, 32})}, .attrs = attrs(0b010, false)},
              {.name = "outer and inner fours", .inputs = {normal({5, 3, 8})}, .attrs = attrs(0b101, true)},
              {.name = "first and third", .inputs = {normal({5, 3, 2, 8})}, .attrs = attrs(0b0101, false)},
              {.name = "one number", .inputs = {normal({})}, .attrs = attrs(0, false)},
              {.name = "nothing", .inputs = {normal({0, 3})}, .attrs = attrs(0b01, false)},
              {.name = "no results", .inputs = {normal({0, 3})}, .attrs = attrs(0b10, false)},
              {.name = "all", .inputs = {normal({3, 4})}, .attrs = attrs(0b11, false)},
              {.name = "transposed",
               .inputs = {{.shape = {6, 7}, .transposed = true}},
               .attrs = attrs(0b01, false)}};
        },
    .gpu_plan = plan_sum_gpu};

}  // namespace

Tensor sum(const Tensor& x, const Dims& axes, bool keep_axes) {
  return call(sum_op, {x}, std::make_shared<SumAttrs>(axes_mask(axes, x.rank(), "sum"), keep_axes))[0];
}

Tensor sum_over(const Tensor& x, const Dims& axes, bool keep_axes, double divisor) {
  return call(sum_op, {x},
              std::make_shared<SumAttrs>(axes_mask(axes, x.rank(), "mean"), keep_axes, false, divisor))[0];
}

Tensor sum_wide(const Tensor& x, const Dims& axes) {
  return call(sum_op, {x}, std::make_shared<SumAttrs>(axes_mask(axes, x.rank(), "sum"), false, true))[0];
}

Tensor sum_all(const Tensor& x) {
  return call(sum_op, {x}, std::make_shared<SumAttrs>((1u << x.rank()) - 1u, false))[0];
}

Tensor sum_to(const Tensor& t, const Shape& shape) {
  if (t.shape() == shape) return t;
  const int lead = t.rank() - shape.rank();
  Dims axes;
  for (int a = 0; a < t.rank(); ++a)
    if (a < lead || (shape[a - lead] == 1 && t.shape()[a] != 1)) axes.push_back(a);
  Tensor s = axes.rank() ? sum(t, axes, /*keep=*/true) : t;
  return s.shape() == shape ? s : s.reshaped(shape);
}

std::vector<const OpDef*> sum_ops() { return {&sum_op}; }

}  // namespace reckon::ops
