#include "ops/activation/activation.h"

#include "ops/activation/activation_kernel.h"
#include "ops/rules.h"

namespace reckon::ops {
namespace {

std::vector<OpCase> forward_cases(InputKind kind) {
  return {{.name = "vector", .inputs = {{.shape = {7}, .kind = kind}}},
          {.name = "tiles", .inputs = {{.shape = {3, 700}, .kind = kind}}},
          {.name = "transposed", .inputs = {{.shape = {5, 6}, .kind = kind, .transposed = true}}}};
}

}  // namespace

#define RECKON_DEFINE(fn, keeps_output, flops, special, back_flops, back_special)                      \
  namespace {                                                                                          \
  const OpDef fn##_backward_op{                                                                        \
      .name = #fn "_backward",                                                                         \
      .plan =                                                                                          \
          [](const PlanContext& c) {                                                                   \
            return elementwise_plan(c, #fn "_backward", c.in[0].dtype(), back_flops, back_special);    \
          },                                                                                           \
      .kernels = fn##_backward_kernels,                                                                \
      .gradient = Gradient::none,                                                                      \
      .gradient_note = "second derivatives are not offered",                                           \
      .cases =                                                                                         \
          [] {                                                                                         \
            return std::vector<OpCase>{                                                                \
                {.name = "matrix",                                                                     \
                 .inputs = {normal({5, 130}), {.shape = {5, 130}, .kind = InputKind::positive}}}};     \
          }};                                                                                          \
  const OpDef fn##_op{                                                                                 \
      .name = #fn,                                                                                     \
      .plan =                                                                                          \
          [](const PlanContext& c) {                                                                   \
            check_floating(c.in[0], #fn "'s input");                                                   \
            Plan p = elementwise_plan(c, #fn, c.in[0].dtype(), flops, special);                        \
            p.saves = {{keeps_output, 0}};                                                             \
            return p;                                                                                  \
          },                                                                                           \
      .kernels = fn##_kernels,                                                                         \
      .gradient = Gradient::differentiable,                                                            \
      .backward = [](BackwardContext& c) -> TensorList {                                               \
        return {call(fn##_backward_op, {c.grads[0], c.saved[0]})[0]};                                  \
      },                                                                                               \
      .recompute = Recompute::cheap,                                                                   \
      .cases =                                                                                         \
          [] {                                                                                         \
            const std::string_view n = #fn;                                                            \
            return forward_cases(n == "log" || n == "sqrt" ? InputKind::positive : InputKind::normal); \
          }};                                                                                          \
  }                                                                                                    \
  Tensor fn(const Tensor& x) { return call(fn##_op, {x})[0]; }
RECKON_ACTIVATIONS(RECKON_DEFINE)
#undef RECKON_DEFINE

std::vector<const OpDef*> activation_ops() {
  std::vector<const OpDef*> list;
#define RECKON_LIST(name, ...) \
  list.push_back(&name##_op);  \
  list.push_back(&name##_backward_op);
  RECKON_ACTIVATIONS(RECKON_LIST)
#undef RECKON_LIST
  return list;
}

}  // namespace reckon::ops
