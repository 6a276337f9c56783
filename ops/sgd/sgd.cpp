#include "ops/sgd/sgd.h"

#include <array>

#include "ops/cast/cast.h"
#include "ops/rules.h"
#include "ops/sgd/sgd_kernel.h"

namespace reckon::ops {
namespace {

// Per element: 2 for the step; 1 for a gradient scale, 2 for decay; with momentum 2 (0 in the first step, 3
// with dampening) and 2 for nesterov.
Plan plan_sgd(const PlanContext& c) {
  const SgdSettings& s = c.as<SgdAttrs>().s;
  const Tensor &p = c.in[sgd_in::param], &g = c.in[sgd_in::grad], &buffer = c.in[sgd_in::momentum_buffer],
               &scale = c.in[sgd_in::grad_scale];
  check_floating(p, "sgd's parameter");
  RECKON_CHECK(s.step >= 1, "sgd counts steps from 1, got step {}", s.step);
  RECKON_CHECK(!s.nesterov || (s.momentum > 0 && s.dampening == 0),
               "nesterov needs a momentum above 0 and no dampening, got {} and {}", s.momentum, s.dampening);
  const bool momentum = s.momentum != 0;
  RECKON_CHECK(momentum == buffer.defined(), "sgd with momentum {} {} a momentum buffer", s.momentum,
               momentum ? "needs" : "takes no");
  check_shape(g, p.shape(), "sgd's gradient");
  if (momentum) check_shape(buffer, p.shape(), "sgd's momentum buffer");
  for (const Tensor& t : {scale, c.in[sgd_in::skip]})
    RECKON_CHECK(!t.defined() || t.numel() == 1, "sgd's gradient scale and skip flag hold one element, got {}",
                 describe(t));
  Plan plan;
  plan.outputs = {{.shape = p.shape(), .dtype = p.dtype(), .alias_of = sgd_in::param, .writes = true}};
  if (momentum)
    plan.outputs.push_back(
        {.shape = p.shape(), .dtype = buffer.dtype(), .alias_of = sgd_in::momentum_buffer, .writes = true});
  plan.launches = {{"sgd"}};
  int64_t per_element = 2 + (scale.defined() ? 1 : 0) + (s.weight_decay != 0 ? 2 : 0);
  if (momentum) per_element += (s.step == 1 ? 0 : (s.dampening == 0 ? 2 : 3)) + (s.nesterov ? 2 : 0);
  plan.cost.vector_flops = p.numel() * per_element;
  set_traffic(plan, c);
  return plan;
}

const OpDef sgd_op{
    .name = "sgd",
    .plan = plan_sgd,
    .kernels = sgd_kernels,
    .gradient_note = "updates its target in place, outside the graph",
    .cases = [] {
      const auto attrs = [](SgdSettings s) { return std::make_shared<SgdAttrs>(s); };
      const InputSpec x = normal({3, 1411}), one = positive({1});
      return std::vector<OpCase>{
          {.name = "plain", .inputs = {x, x, absent(), absent(), absent()}, .attrs = attrs({.lr = 0.1})},
          {.name = "momentum and decay",
           .inputs = {x, x, x, absent(), absent()},
           .attrs = attrs({.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01, .step = 2})},
          {.name = "first step, scaled",
           .inputs = {x, x, x, one, absent()},
           .attrs = attrs({.lr = 0.1, .momentum = 0.9, .dampening = 0.5})},
          {.name = "dampening",
           .inputs = {x, x, x, absent(), absent()},
           .attrs = attrs({.lr = 0.1, .momentum = 0.9, .dampening = 0.5, .step = 2})},
          {.name = "nesterov",
           .inputs = {x, x, x, absent(), absent()},
           .attrs = attrs({.lr = 0.1, .momentum = 0.9, .nesterov = true, .step = 5})}};
    }};

}  // namespace

void sgd(Tensor& param, const Tensor& grad, Tensor& momentum_buffer, const SgdSettings& settings,
         const Tensor& grad_scale, const Tensor& skip) {
  const std::array<Tensor, sgd_in::n_inputs> in{param, contiguous(grad.detached()), momentum_buffer, grad_scale,
                                                skip};
  dispatch(sgd_op, in, std::make_shared<SgdAttrs>(settings));
}

std::vector<const OpDef*> sgd_ops() { return {&sgd_op}; }

}  // namespace reckon::ops
