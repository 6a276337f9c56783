#include "ops/dropout/dropout.h"

#include <cmath>

#include "ops/binary/binary.h"
#include "ops/dropout/dropout_kernel.h"
#include "ops/rules.h"
#include "runtime/core/rng.h"

namespace reckon::ops {

DropoutAttrs::DropoutAttrs(double p, DropoutKey k, uint32_t shared_axes)
    : scale(1 / (1 - p)),
      threshold(static_cast<uint32_t>(std::llround(p * 0x1p32))),
      key(k),
      shared(shared_axes) {}

namespace {

Shape mask_shape(const Shape& x, uint32_t shared) {
  Shape s = x;
  for (int i = 0; i < s.rank(); ++i)
    if ((shared >> i) & 1u) s[i] = 1;
  return s;
}

// One product per element, with a residual one addition; random bits are integer work.
Plan plan_dropout(const PlanContext& c) {
  const auto& a = c.as<DropoutAttrs>();
  check_floating(c.in[0], "dropout's input");
  Plan p = elementwise_plan(c, "dropout", c.in[0].dtype(), 1, 0);
  p.outputs.push_back({.shape = mask_shape(c.in[0].shape(), a.shared),
                       .dtype = DType::u8,
                       .label = "mask",
                       .differentiable = false});
  if (a.shared) p.launches = {{"dropout_mask"}, {"dropout"}};
  if (c.needs(0)) p.saves = {{true, 1}};
  set_traffic(p, c);
  return p;
}

Plan plan_redraw(const PlanContext& c, const char* name, int x_input, int64_t flops) {
  const auto& a = c.as<DropoutAttrs>();
  const Tensor& x = c.in[x_input];
  check_floating(x, "dropout's input");
  check_shape(c.in.front(), x.shape(), "dropout_add's residual");
  Plan p = elementwise_plan(c, name, promoted_dtype(c), flops, 0);
  if (a.shared) {
    p.launches = {{"dropout_mask"}, {name}};
    p.workspaces = {{"dropout mask", static_cast<size_t>(numel(mask_shape(x.shape(), a.shared)))}};
  }
  return p;
}

// A GPU draws a shared mask again for every element where the pattern is simple: that is cheaper than a launch.
void draw_in_place(const PlanContext& c, Plan& p) {
  const auto& a = c.as<DropoutAttrs>();
  if (!a.shared || !SharedRun(p.outputs[0].shape.rank(), p.outputs[0].shape.begin(), a.shared).in_fours) return;
  p.launches = {p.launches[1]};
  p.workspaces = {};
}

Plan plan_dropout_redraw(const PlanContext& c) {
  const auto& a = c.as<RedrawAttrs>();
  Plan p = plan_redraw(c, "dropout_redraw", 0, 1);
  if (a.converts) p.outputs[0].dtype = a.x;
  set_traffic(p, c);
  return p;
}

std::shared_ptr<DropoutAttrs> attrs(double p, uint32_t shared = 0) {
  return std::make_shared<DropoutAttrs>(p, DropoutKey{11, 5}, shared);
}

std::vector<OpCase> one_input_cases() {
  return {{.name = "tail", .inputs = {normal({3, 701})}, .attrs = attrs(0.25)},
          {.name = "shared rows", .inputs = {normal({4, 5, 6})}, .attrs = attrs(0.5, 0b001)},
          {.name = "shared middle and last", .inputs = {normal({3, 7, 5})}, .attrs = attrs(0.15, 0b110)},
          {.name = "transposed", .inputs = {{.shape = {9, 7}, .transposed = true}}, .attrs = attrs(0.25)}};
}

std::vector<OpCase> redraw_cases() {
  std::vector<OpCase> cases = one_input_cases();
  cases.push_back(
      {.name = "shared rows of fours", .inputs = {normal({2, 5, 3, 8})}, .attrs = attrs(0.25, 0b0010)});
  cases.push_back(
      {.name = "shared columns of fours", .inputs = {normal({2, 5, 3, 8})}, .attrs = attrs(0.25, 0b0100)});
  cases.push_back(
      {.name = "shared last and first", .inputs = {normal({3, 4, 5})}, .attrs = attrs(0.25, 0b101)});
  return cases;
}

const OpDef dropout_backward_op{
    .name = "dropout_backward",
    .plan =
        [](const PlanContext& c) {
          Plan p = elementwise_plan(c, "dropout_backward", c.in[dropout_backward_in::g].dtype(), 1, 0);
          check_shape(c.in[dropout_backward_in::g], p.outputs[0].shape, "dropout's output gradient");
          return p;
        },
    .kernels = dropout_backward_kernels,
    .layouts = {.any = ~0u},
    .gradient_note = "second derivatives are not offered",
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "matrix", .inputs = {normal({3, 701}), mask01({3, 701})}, .attrs = attrs(0.25)},
              {.name = "shared", .inputs = {normal({3, 4, 5}), mask01({3, 1, 5})}, .attrs = attrs(0.25)}};
        }};

const OpDef dropout_op{
    .name = "dropout",
    .fingerprint = fingerprint_by<&DropoutAttrs::scale, &DropoutAttrs::threshold, &DropoutAttrs::key,
                                  &DropoutAttrs::shared>,
    .plan = plan_dropout,
    .kernels = dropout_kernels,
    .layouts = {.any = ~0u},
    .gradient = Gradient::differentiable,
    .backward = [](BackwardContext& c) -> TensorList {
      const auto& a = c.as<DropoutAttrs>();
      return call(dropout_backward_op, {c.grads[0], c.saved[0]}, std::make_shared<DropoutAttrs>(a));
    },
    .recompute = Recompute::cheap,
    .cases = one_input_cases};

const OpDef dropout_redraw_op{
    .name = "dropout_redraw",
    .plan = plan_dropout_redraw,
    .kernels = dropout_redraw_kernels,
    .layouts = {.any = ~0u},
    .gradient_note = "second derivatives are not offered",
    .cases =
        [] {
          std::vector<OpCase> cases = redraw_cases();
          for (OpCase& c : cases)
            c.attrs = std::make_shared<RedrawAttrs>(static_cast<const DropoutAttrs&>(*c.attrs));
          return cases;
        },
    .gpu_plan = draw_in_place};

const OpDef dropout_add_op{
    .name = "dropout_add",
    .fingerprint = fingerprint_by<&DropoutAttrs::scale, &DropoutAttrs::threshold, &DropoutAttrs::key,
                                  &DropoutAttrs::shared>,
    .plan = [](const PlanContext& c) { return plan_redraw(c, "dropout_add", dropout_add_in::x, 2); },
    .kernels = dropout_add_kernels,
    .layouts = {.any = ~0u},
    .gradient = Gradient::differentiable,
    .backward = [](BackwardContext& c) -> TensorList {
      const auto& a = c.as<DropoutAttrs>();
      TensorList out(dropout_add_in::n_inputs);
      if (c.needs(dropout_add_in::x))
        out[dropout_add_in::x] = call(dropout_redraw_op, {c.grads[0]},
                                      std::make_shared<RedrawAttrs>(a, c.input_dtypes[dropout_add_in::x]))[0];
      if (c.needs(dropout_add_in::residual)) out[dropout_add_in::residual] = c.grads[0];
      return out;
    },
    .recompute = Recompute::dear,  // part of a residual stream, like add
    .cases =
        [] {
          std::vector<OpCase> cases = redraw_cases();
          for (OpCase& c : cases) c.inputs.insert(c.inputs.begin(), normal(c.inputs[0].shape));
          return cases;
        },
    .gpu_plan = draw_in_place};

void check_p(double p) {
  RECKON_CHECK(p >= 0 && p <= 1 - 0x1p-24, "dropout expects a probability in [0, 1), got {} (a percentage?)",
               p);
}

}  // namespace

Tensor dropout(const Tensor& x, double p, DropoutKey key, const Dims& shared_axes) {
  check_p(p);
  if (p == 0) return x;
  return call(dropout_op, {x},
              std::make_shared<DropoutAttrs>(p, key, axes_mask(shared_axes, x.rank(), "dropout")))[0];
}

Tensor dropout_add(const Tensor& residual, const Tensor& x, double p, DropoutKey key, const Dims& shared_axes) {
  check_p(p);
  if (p == 0) return add(residual, x);
  return call(dropout_add_op, {residual, x},
              std::make_shared<DropoutAttrs>(p, key, axes_mask(shared_axes, x.rank(), "dropout")))[0];
}

bool dropout_keeps(DropoutKey key, double p, int64_t i) {
  const Philox random{key.seed, key.stream};
  const uint64_t element = static_cast<uint64_t>(i);
  return random(element / 4)[element % 4] >= DropoutAttrs(p, key, 0).threshold;
}

std::vector<const OpDef*> dropout_ops() {
  return {&dropout_op, &dropout_backward_op, &dropout_add_op, &dropout_redraw_op};
}

}  // namespace reckon::ops
