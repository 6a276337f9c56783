#include "ops/binary/binary.h"

#include "ops/binary/binary_kernel.h"
#include "ops/rules.h"
#include "ops/sum/sum.h"

namespace reckon::ops {
namespace {

std::vector<OpCase> broadcasting_cases() {
  return {{.name = "same shape", .inputs = {normal({3, 5}), positive({3, 5})}},
          {.name = "row", .inputs = {normal({4, 6}), positive({6})}},
          {.name = "column and batch", .inputs = {normal({2, 3, 1}), positive({3, 600})}},
          {.name = "transposed", .inputs = {{.shape = {5, 4}, .transposed = true}, positive({5, 4})}},
          {.name = "scalar", .inputs = {normal({3, 2}), positive({})}}};
}

Plan plan_sum_like(const PlanContext& c, const char* name) {
  return elementwise_plan(c, name, promoted_dtype(c), 1, 0);
}

TensorList add_backward(BackwardContext& c) {
  TensorList out(2);
  for (int i = 0; i < 2; ++i)
    if (c.needs(i)) out[i] = sum_to(c.grads[0], c.input_shapes[i]);
  return out;
}

TensorList sub_backward(BackwardContext& c) {
  TensorList out(2);
  if (c.needs(0)) out[0] = sum_to(c.grads[0], c.input_shapes[0]);
  if (c.needs(1)) out[1] = scale(sum_to(c.grads[0], c.input_shapes[1]), -1.0);
  return out;
}

// Saves {b} when a needs a gradient and {a} when b does, in that order.
TensorList mul_backward(BackwardContext& c) {
  TensorList out(2);
  size_t next = 0;
  if (c.needs(0)) out[0] = sum_to(mul(c.grads[0], c.saved[next++]), c.input_shapes[0]);
  if (c.needs(1)) out[1] = sum_to(mul(c.grads[0], c.saved[next++]), c.input_shapes[1]);
  return out;
}

// Saves {b} and, when b needs a gradient, the quotient: d(a/b)/db = -(a/b)/b.
TensorList div_backward(BackwardContext& c) {
  TensorList out(2);
  const Tensor per_b = div(c.grads[0], c.saved[0]);
  if (c.needs(0)) out[0] = sum_to(per_b, c.input_shapes[0]);
  if (c.needs(1)) out[1] = scale(sum_to(mul(per_b, c.saved[1]), c.input_shapes[1]), -1.0);
  return out;
}

// Binary sums and the gate products that chain through a residual stream are kept, not rebuilt: rebuilding one
// would rebuild the whole stream below it. Products are cheap.
const OpDef add_op{.name = "add",
                   .plan = [](const PlanContext& c) { return plan_sum_like(c, "add"); },
                   .kernels = add_kernels,
                   .gradient = Gradient::differentiable,
                   .backward = add_backward,
                   .cases = broadcasting_cases};

const OpDef sub_op{.name = "sub",
                   .plan = [](const PlanContext& c) { return plan_sum_like(c, "sub"); },
                   .kernels = sub_kernels,
                   .gradient = Gradient::differentiable,
                   .backward = sub_backward,
                   .cases = broadcasting_cases};

const OpDef mul_op{.name = "mul",
                   .plan =
                       [](const PlanContext& c) {
                         Plan p = plan_sum_like(c, "mul");
                         if (c.needs(0)) p.saves.push_back({false, 1});
                         if (c.needs(1)) p.saves.push_back({false, 0});
                         return p;
                       },
                   .kernels = mul_kernels,
                   .gradient = Gradient::differentiable,
                   .backward = mul_backward,
                   .recompute = Recompute::cheap,
                   .cases = broadcasting_cases};

const OpDef div_op{.name = "div",
                   .plan =
                       [](const PlanContext& c) {
                         Plan p = plan_sum_like(c, "div");
                         p.saves.push_back({false, 1});
                         if (c.needs(1)) p.saves.push_back({true, 0});
                         return p;
                       },
                   .kernels = div_kernels,
                   .gradient = Gradient::differentiable,
                   .backward = div_backward,
                   .recompute = Recompute::cheap,
                   .cases = broadcasting_cases};

const OpDef affine_op{
    .name = "affine",
    .fingerprint = fingerprint_by<&AffineAttrs::scale, &AffineAttrs::shift>,
    .plan = [](const PlanContext& c) { return elementwise_plan(c, "affine", c.in[0].dtype(), 2, 0); },
    .kernels = affine_kernels,
    .gradient = Gradient::differentiable,
    .backward = [](BackwardContext& c) -> TensorList { return {scale(c.grads[0], c.as<AffineAttrs>().scale)}; },
    .recompute = Recompute::cheap,
    .cases =
        [] {
          return std::vector<OpCase>{{.name = "matrix",
                                      .inputs = {normal({3, 5})},
                                      .attrs = std::make_shared<AffineAttrs>(1.5, -0.5)}};
        }};

const OpDef scale_op{
    .name = "scale",
    .fingerprint = fingerprint_by<&AffineAttrs::scale, &AffineAttrs::shift>,
    .plan = [](const PlanContext& c) { return elementwise_plan(c, "scale", c.in[0].dtype(), 1, 0); },
    .kernels = scale_kernels,
    .gradient = Gradient::differentiable,
    .backward = [](BackwardContext& c) -> TensorList { return {scale(c.grads[0], c.as<AffineAttrs>().scale)}; },
    .recompute = Recompute::cheap,
    .cases =
        [] {
          return std::vector<OpCase>{{.name = "matrix",
                                      .inputs = {normal({3, 5})},
                                      .attrs = std::make_shared<AffineAttrs>(-0.75, 0.0)}};
        }};

const OpDef accumulate_op{
    .name = "accumulate",
    .plan =
        [](const PlanContext& c) {
          check_shape(c.in[1], c.in[0].shape(), "accumulate's summand");
          RECKON_CHECK(c.in[0].contiguous(), "accumulate needs a contiguous target, got {}", describe(c.in[0]));
          Plan p = elementwise_plan(c, "accumulate", c.in[0].dtype(), 1, 0);
          p.outputs[0].alias_of = 0;
          p.outputs[0].writes = true;
          return p;
        },
    .kernels = add_kernels,
    .gradient = Gradient::none,
    .gradient_note = "in-place sum of gradients",
    .cases =
        [] {
          return std::vector<OpCase>{{.name = "matrix", .inputs = {normal({3, 5}), normal({3, 5})}}};
        }};

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) { return call(add_op, {a, b})[0]; }
Tensor sub(const Tensor& a, const Tensor& b) { return call(sub_op, {a, b})[0]; }
Tensor mul(const Tensor& a, const Tensor& b) { return call(mul_op, {a, b})[0]; }
Tensor div(const Tensor& a, const Tensor& b) { return call(div_op, {a, b})[0]; }
Tensor affine(const Tensor& x, double scale, double shift) {
  return call(affine_op, {x}, std::make_shared<AffineAttrs>(scale, shift))[0];
}
Tensor scale(const Tensor& x, double factor) {
  return call(scale_op, {x}, std::make_shared<AffineAttrs>(factor, 0.0))[0];
}

void accumulate(Tensor& a, const Tensor& b) {
  const std::array<Tensor, 2> in{a, b};
  dispatch(accumulate_op, in);
}

std::vector<const OpDef*> binary_ops() {
  return {&add_op, &sub_op, &mul_op, &div_op, &affine_op, &scale_op, &accumulate_op};
}

}  // namespace reckon::ops
