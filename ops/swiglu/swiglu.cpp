#include "ops/swiglu/swiglu.h"

#include "ops/rules.h"
#include "ops/swiglu/swiglu_kernel.h"

namespace reckon::ops {
namespace {

// 4 FLOPs and one exp per element.
Plan plan_swiglu(const PlanContext& c) {
  check_floating(c.in[0], "swiglu's gate");
  check_floating(c.in[1], "swiglu's up");
  check_shape(c.in[1], c.in[0].shape(), "swiglu's up");
  Plan p = elementwise_plan(c, "swiglu", promoted_dtype(c), 4, 1);
  p.saves = {{false, 0}, {false, 1}};
  return p;
}

// 9 FLOPs and one exp per element.
Plan plan_swiglu_backward(const PlanContext& c) {
  check_shape(c.in[0], c.in[1].shape(), "swiglu's output gradient");
  check_shape(c.in[2], c.in[1].shape(), "swiglu's up");
  Plan p = elementwise_plan(c, "swiglu_backward", c.in[1].dtype(), 9, 1);
  p.outputs[0].label = "dgate";
  p.outputs.push_back({.shape = c.in[2].shape(), .dtype = c.in[2].dtype(), .label = "dup"});
  set_traffic(p, c);
  return p;
}

const OpDef swiglu_backward_op{
    .name = "swiglu_backward",
    .plan = plan_swiglu_backward,
    .kernels = swiglu_backward_kernels,
    .gradient = Gradient::none,
    .gradient_note = "second derivatives are not offered",
    .cases = [] {
      return std::vector<OpCase>{
          {.name = "tiles", .inputs = {normal({3, 700}), normal({3, 700}), normal({3, 700})}},
          {.name = "transposed",
           .inputs = {
               {.shape = {5, 6}, .transposed = true}, normal({5, 6}), {.shape = {5, 6}, .transposed = true}}}};
    }};

const OpDef swiglu_op{
    .name = "swiglu",
    .plan = plan_swiglu,
    .kernels = swiglu_kernels,
    .gradient = Gradient::differentiable,
    .backward = [](BackwardContext& c) -> TensorList {
      TensorList both = call(swiglu_backward_op, {c.grads[0], c.saved[0], c.saved[1]});
      for (int i = 0; i < 2; ++i)
        if (!c.needs(i)) both[static_cast<size_t>(i)] = {};
      return both;
    },
    .recompute = Recompute::cheap,
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "vector", .inputs = {normal({7}), normal({7})}},
              {.name = "tiles", .inputs = {normal({3, 700}), normal({3, 700})}},
              {.name = "transposed", .inputs = {{.shape = {5, 6}, .transposed = true}, normal({5, 6})}}};
        }};

}  // namespace

Tensor swiglu(const Tensor& gate, const Tensor& up) { return call(swiglu_op, {gate, up})[0]; }

std::vector<const OpDef*> swiglu_ops() { return {&swiglu_op, &swiglu_backward_op}; }

}  // namespace reckon::ops
