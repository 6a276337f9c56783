#include "ops/mul_sigmoid/mul_sigmoid.h"

#include "ops/mul_sigmoid/mul_sigmoid_kernel.h"
#include "ops/rules.h"

namespace reckon::ops {
namespace {

// 3 FLOPs and one exp per element.
Plan plan_mul_sigmoid(const PlanContext& c) {
  check_floating(c.in[0], "mul_sigmoid's x");
  check_floating(c.in[1], "mul_sigmoid's gate");
  check_shape(c.in[1], c.in[0].shape(), "mul_sigmoid's gate");
  Plan p = elementwise_plan(c, "mul_sigmoid", promoted_dtype(c), 3, 1);
  p.saves = {{false, 0}, {false, 1}};
  return p;
}

// 6 FLOPs and one exp per element.
Plan plan_mul_sigmoid_backward(const PlanContext& c) {
  check_shape(c.in[0], c.in[1].shape(), "mul_sigmoid's output gradient");
  check_shape(c.in[2], c.in[1].shape(), "mul_sigmoid's gate");
  Plan p = elementwise_plan(c, "mul_sigmoid_backward", c.in[1].dtype(), 6, 1);
  p.outputs[0].label = "dx";
  p.outputs.push_back({.shape = c.in[2].shape(), .dtype = c.in[2].dtype(), .label = "dgate"});
  set_traffic(p, c);
  return p;
}

const OpDef mul_sigmoid_backward_op{
    .name = "mul_sigmoid_backward",
    .plan = plan_mul_sigmoid_backward,
    .kernels = mul_sigmoid_backward_kernels,
    .gradient = Gradient::none,
    .gradient_note = "second derivatives are not offered",
    .cases = [] {
      return std::vector<OpCase>{
          {.name = "tiles", .inputs = {normal({3, 700}), normal({3, 700}), normal({3, 700})}},
          {.name = "transposed",
           .inputs = {
               {.shape = {5, 6}, .transposed = true}, normal({5, 6}), {.shape = {5, 6}, .transposed = true}}}};
    }};

const OpDef mul_sigmoid_op{
    .name = "mul_sigmoid",
    .plan = plan_mul_sigmoid,
    .kernels = mul_sigmoid_kernels,
    .gradient = Gradient::differentiable,
    .backward = [](BackwardContext& c) -> TensorList {
      TensorList both = call(mul_sigmoid_backward_op, {c.grads[0], c.saved[0], c.saved[1]});
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

Tensor mul_sigmoid(const Tensor& x, const Tensor& gate) { return call(mul_sigmoid_op, {x, gate})[0]; }

std::vector<const OpDef*> mul_sigmoid_ops() { return {&mul_sigmoid_op, &mul_sigmoid_backward_op}; }

}  // namespace reckon::ops
