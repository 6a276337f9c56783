#include "ops/adamw/adamw.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "ops/adamw/adamw_kernel.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/rules.h"

namespace reckon::ops {

AdamWAttrs::AdamWAttrs(const AdamWSettings& s, bool counts)
    : counts_updates(counts),
      decays_param(s.decoupled && s.weight_decay != 0),
      decays_grad(!s.decoupled && s.weight_decay != 0),
      param_factor(1 - s.lr * s.weight_decay),
      grad_decay(s.weight_decay),
      weight1(1 - s.beta1),
      weight2(1 - s.beta2),
      eps(s.eps),
      correction{s.lr, s.beta1, s.beta2},
      factors(correction.at(static_cast<double>(s.step))) {
  RECKON_CHECK(s.step >= 1, "adamw counts steps from 1, got step {}", s.step);
  RECKON_CHECK(s.beta1 >= 0 && s.beta1 < 1 && s.beta2 >= 0 && s.beta2 < 1,
               "adamw expects betas in [0, 1), got {} and {}", s.beta1, s.beta2);
  RECKON_CHECK(s.eps >= 0 && s.weight_decay >= 0, "adamw expects eps and weight decay >= 0, got {} and {}",
               s.eps, s.weight_decay);
}

namespace {

void check_scalar(const Tensor& t, const char* what) {
  RECKON_CHECK(!t.defined() || (t.numel() == 1 && is_compute_type(t.dtype())),
               "adamw's {} must be one float, got {}", what, describe(t));
}

void check_factors(const Tensor& t) {
  RECKON_CHECK(!t.defined() || (t.shape() == Shape{2} && is_compute_type(t.dtype())),
               "an Adam step's factors must be two floats, got {}", describe(t));
}

void check_updates(const Tensor& t) {
  RECKON_CHECK(t.defined() && t.numel() == 1 && (t.dtype() == DType::f32 || t.dtype() == DType::f64),
               "adamw counts updates in one f32 or f64 element, got {}", describe(t));
}

// The number of the update is data: working out its two factors counts no FLOPs.
Plan plan_adam_factors(const PlanContext& c) {
  const Tensor& updates = c.in[adam_factors_in::updates];
  check_updates(updates);
  check_scalar(c.in[adam_factors_in::skip], "skip flag");
  Plan p;
  p.outputs = {{.shape = updates.shape(),
                .dtype = updates.dtype(),
                .alias_of = adam_factors_in::updates,
                .writes = true},
               {.shape = {2}, .dtype = updates.dtype(), .label = "factors"}};
  p.launches = {{"adam_factors"}};
  set_traffic(p, c);
  return p;
}

Plan plan_denominator(const PlanContext& c) {
  check_factors(c.in[denominator_in::factors]);
  PlanContext of_square = c;
  of_square.in = c.in.first(1);
  Plan p = elementwise_plan(of_square, "adam_denominator", c.in[0].dtype(), 2, 1);
  set_traffic(p, c);
  return p;
}

// The first input is written; up to `skip` follow operands of its shape.
Plan plan_in_place(const PlanContext& c, const char* name, int skip, int64_t flops) {
  const Tensor& target = c.in[0];
  check_floating(target, "an updated tensor");
  for (int i = 1; i < skip; ++i) check_shape(c.in[i], target.shape(), "an operand of an in-place step");
  check_scalar(c.in[skip], "skip flag");
  Plan p;
  p.outputs = {{.shape = target.shape(), .dtype = target.dtype(), .alias_of = 0, .writes = true}};
  p.launches = {{name}};
  p.cost.vector_flops = target.numel() * flops;
  set_traffic(p, c);
  return p;
}

// Per element: 3 for exp_avg, 4 for exp_avg_sq, 2 and a root for the denominator, 3 for the step; 1 more for a
// gradient scale, 1 for decoupled decay, 2 for decay in the gradient.
Plan plan_adamw_all(const PlanContext& c) {
  const auto& a = c.as<AdamWAttrs>();
  const AdamWInputs in(c.in.size(), a.counts_updates);
  RECKON_CHECK(c.in.size() > 2 && in.skip() + 1 == c.in.size(),
               "adamw_all takes {} lists of one length and two scalars, got {} inputs", in.n_lists,
               c.in.size());
  const size_t n = in.n_tensors;
  const bool scales = c.in[in.grad_scale()].defined();
  check_scalar(c.in[in.grad_scale()], "gradient scale");
  check_scalar(c.in[in.skip()], "skip flag");
  Plan p;
  int64_t elements = 0;
  for (size_t i = 0; i < in.updates(0); ++i) {
    const Tensor& t = c.in[i];
    check_floating(t, "a tensor of adamw_all");
    RECKON_CHECK(t.shape() == c.in[i % n].shape(),
                 "adamw_all's tensor {} of list {} must have shape {}, got {}", i % n, i / n,
                 to_string(c.in[i % n].shape()), describe(t));
    if (i < n) elements += t.numel();
    if (i < in.grad(0) || i >= in.exp_avg(0))  // all lists but the gradients are written
      p.outputs.push_back(
          {.shape = t.shape(), .dtype = t.dtype(), .alias_of = static_cast<int>(i), .writes = true});
  }
  if (a.counts_updates) {
    for (size_t k = 0; k < n; ++k) {
      const Tensor& t = c.in[in.updates(k)];
      check_updates(t);
      p.outputs.push_back({.shape = t.shape(),
                           .dtype = t.dtype(),
                           .alias_of = static_cast<int>(in.updates(k)),
                           .writes = true});
    }
    const bool f64 = std::any_of(c.in.begin(), c.in.end(),
                                 [](const Tensor& t) { return t.defined() && t.dtype() == DType::f64; });
    p.workspaces = {{"factors of the updates", 2 * n * (f64 ? sizeof(double) : sizeof(float))}};
    p.launches = {{"adamw_updates"}};
  }
  p.launches.push_back({"adamw_all"});
  p.cost.vector_flops = elements * (12 + (scales ? 1 : 0) + (a.decays_param ? 1 : 0) + (a.decays_grad ? 2 : 0));
  p.cost.special = elements;
  set_traffic(p, c);
  return p;
}

void plan_adamw_all_gpu(const PlanContext& c, Plan& p) {
  const bool counts = c.as<AdamWAttrs>().counts_updates;
  const size_t n = AdamWInputs(c.in.size(), counts).n_tensors;
  p.launches = {};
  for (size_t k = 0; counts && k < n; k += kAdamWCountsPerLaunch) p.launches.push_back({"adamw_updates"});
  for (size_t k = 0; k < n; k += kAdamWTensorsPerLaunch) p.launches.push_back({"adamw_all"});
}

std::shared_ptr<StepAttrs> step(double factor, double shift = 0) {
  return std::make_shared<StepAttrs>(factor, shift);
}
constexpr const char* kNoGradient = "updates its target in place, outside the graph";

InputSpec as_f32(InputSpec s) {
  s.fixed_f32 = true;
  return s;
}

const OpDef scale_in_place_op{
    .name = "scale_in_place",
    .plan = [](const PlanContext& c) { return plan_in_place(c, "scale_in_place", scale_in_place_in::skip, 1); },
    .kernels = scale_in_place_kernels,
    .layouts = {.any = input_bits(scale_in_place_in::skip)},
    .gradient_note = kNoGradient,
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "tail", .inputs = {normal({3, 171}), absent()}, .attrs = step(0.99)}};
        }};

const OpDef lerp_op{
    .name = "lerp_in_place",
    .plan = [](const PlanContext& c) { return plan_in_place(c, "lerp_in_place", lerp_in::skip, 3); },
    .kernels = lerp_kernels,
    .layouts = {.any = input_bits(lerp_in::to, lerp_in::skip)},
    .gradient_note = kNoGradient,
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "tail", .inputs = {normal({3, 171}), normal({3, 171}), absent()}, .attrs = step(0.1)},
              {.name = "transposed gradient",
               .inputs = {normal({6, 5}), {.shape = {6, 5}, .transposed = true}, absent()},
               .attrs = step(0.1)}};
        }};

const OpDef lerp_square_op{
    .name = "lerp_square_in_place",
    .plan = [](const PlanContext& c) { return plan_in_place(c, "lerp_square_in_place", lerp_in::skip, 4); },
    .kernels = lerp_square_kernels,
    .layouts = {.any = input_bits(lerp_in::to, lerp_in::skip)},
    .gradient_note = kNoGradient,
    .cases =
        [] {
          return std::vector<OpCase>{{.name = "tail",
                                      .inputs = {positive({3, 171}), normal({3, 171}), absent()},
                                      .attrs = step(0.01)}};
        }};

const OpDef scaled_sum_op{
    .name = "scaled_sum",
    .plan =
        [](const PlanContext& c) {
          check_shape(c.in[scaled_sum_in::b], c.in[scaled_sum_in::a].shape(), "scaled_sum's second operand");
          return elementwise_plan(c, "scaled_sum", promoted_dtype(c), 2, 0);
        },
    .kernels = scaled_sum_kernels,
    .layouts = {.any = ~0u},
    .gradient_note = kNoGradient,
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "tail", .inputs = {normal({3, 171}), normal({3, 171})}, .attrs = step(0.05)}};
        }};

const OpDef denominator_op{
    .name = "adam_denominator",
    .plan = plan_denominator,
    .kernels = denominator_kernels,
    .layouts = {.any = ~0u},
    .gradient_note = kNoGradient,
    .cases = [] {
      return std::vector<OpCase>{
          {.name = "tail", .inputs = {positive({3, 171}), absent()}, .attrs = step(3.2, 1e-6)},
          {.name = "counted", .inputs = {positive({3, 171}), as_f32(positive({2}))}, .attrs = step(0, 1e-6)}};
    }};

const OpDef adam_factors_op{
    .name = "adam_factors",
    .plan = plan_adam_factors,
    .kernels = adam_factors_kernels,
    .gradient_note = kNoGradient,
    .cases = [] {
      const auto attrs = std::make_shared<AdamFactorsAttrs>(AdamWSettings{.lr = 0.01});
      return std::vector<OpCase>{
          {.name = "counts", .inputs = {as_f32(positive({1})), absent()}, .attrs = attrs},
          {.name = "skips", .inputs = {as_f32(positive({1})), positive({1})}, .attrs = attrs}};
    }};

const OpDef add_quotient_op{
    .name = "add_quotient_in_place",
    .plan =
        [](const PlanContext& c) {
          check_factors(c.in[add_quotient_in::factors]);
          return plan_in_place(c, "add_quotient_in_place", add_quotient_in::skip, 3);
        },
    .kernels = add_quotient_kernels,
    .layouts = {.any = input_bits(add_quotient_in::numerator, add_quotient_in::denominator,
                                  add_quotient_in::skip)},
    .gradient_note = kNoGradient,
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "tail",
               .inputs = {normal({3, 171}), normal({3, 171}), positive({3, 171}), absent(), absent()},
               .attrs = step(-0.01)},
              {.name = "counted",
               .inputs = {normal({3, 171}), normal({3, 171}), positive({3, 171}), absent(),
                          as_f32(normal({2}))},
               .attrs = step(0)}};
        }};

const OpDef adamw_all_op{
    .name = "adamw_all",
    .plan = plan_adamw_all,
    .kernels = adamw_all_kernels,
    .gradient_note = kNoGradient,
    .cases =
        [] {
          const auto decay = std::make_shared<AdamWAttrs>(AdamWSettings{.lr = 0.01, .step = 3});
          const auto l2 = std::make_shared<AdamWAttrs>(
              AdamWSettings{.lr = 0.01, .weight_decay = 0.05, .step = 2, .decoupled = false});
          return std::vector<OpCase>{
              {.name = "one tensor",
               .inputs = {normal({3, 171}), normal({3, 171}), normal({3, 171}), positive({3, 171}), absent(),
                          absent()},
               .attrs = decay},
              {.name = "two tensors of several chunks, mixed types, scaled",
               .inputs = {normal({2, 4099}), normal({7}), normal({2, 4099}), normal({7}),
                          as_f32(normal({2, 4099})), as_f32(normal({7})), as_f32(positive({2, 4099})),
                          as_f32(positive({7})), as_f32(positive({1})), absent()},
               .attrs = decay},
              {.name = "counted updates",
               .inputs = {normal({2, 4099}), normal({7}), normal({2, 4099}), normal({7}),
                          as_f32(normal({2, 4099})), as_f32(normal({7})), as_f32(positive({2, 4099})),
                          as_f32(positive({7})), as_f32(positive({1})), as_f32(positive({1})), absent(),
                          absent()},
               .attrs = std::make_shared<AdamWAttrs>(AdamWSettings{.lr = 0.01}, true)},
              {.name = "decay in the gradient",
               .inputs = {normal({5, 6}), normal({5, 6}), normal({5, 6}), positive({5, 6}), absent(), absent()},
               .attrs = l2}};
        },
    .gpu_plan = plan_adamw_all_gpu};

void run(const OpDef& op, std::initializer_list<Tensor> in, std::shared_ptr<StepAttrs> attrs) {
  dispatch(op, std::span<const Tensor>(in.begin(), in.size()), attrs);
}

}  // namespace

void adamw_eager(Tensor& param, const Tensor& grad, Tensor& exp_avg, Tensor& exp_avg_sq,
                 const AdamWSettings& settings, const Tensor& grad_scale, const Tensor& skip,
                 const Tensor& updates) {
  const AdamWAttrs a(settings, updates.defined());
  Tensor g = grad.detached();
  check_scalar(grad_scale, "gradient scale");
  if (grad_scale.defined()) g = mul(g, grad_scale.detached().reshaped({}));
  if (a.decays_grad) {
    const std::array<Tensor, 2> in{g, param};
    g = dispatch(scaled_sum_op, in, step(a.grad_decay))[0];
  }
  if (a.decays_param) run(scale_in_place_op, {param, skip}, step(a.param_factor));
  run(lerp_op, {exp_avg, g, skip}, step(a.weight1));
  run(lerp_square_op, {exp_avg_sq, g, skip}, step(a.weight2));
  Tensor factors;
  if (updates.defined()) {
    const std::array<Tensor, 2> in{updates, skip};
    factors = dispatch(adam_factors_op, in, std::make_shared<AdamFactorsAttrs>(settings))[1];
  }
  const std::array<Tensor, 2> in{exp_avg_sq, factors};
  const Tensor denominator = dispatch(denominator_op, in, step(a.factors.root, a.eps))[0];
  run(add_quotient_op, {param, exp_avg, denominator, skip, factors}, step(a.factors.minus_step));
}

void adamw_all(std::span<const Tensor> params, std::span<const Tensor> grads, std::span<const Tensor> exp_avg,
               std::span<const Tensor> exp_avg_sq, const AdamWSettings& settings, const Tensor& grad_scale,
               const Tensor& skip, std::span<const Tensor> updates) {
  RECKON_CHECK(
      grads.size() == params.size() && exp_avg.size() == params.size() && exp_avg_sq.size() == params.size(),
      "adamw_all got {} parameters, {} gradients, {} and {} moments: expected lists of one length",
      params.size(), grads.size(), exp_avg.size(), exp_avg_sq.size());
  RECKON_CHECK(updates.empty() || updates.size() == params.size(),
               "adamw_all got {} counts of updates for {} parameters", updates.size(), params.size());
  if (params.empty()) return;
  TensorList in;
  in.reserve(5 * params.size() + 2);
  in.insert(in.end(), params.begin(), params.end());
  for (const Tensor& g : grads) in.push_back(contiguous(g.detached()));
  in.insert(in.end(), exp_avg.begin(), exp_avg.end());
  in.insert(in.end(), exp_avg_sq.begin(), exp_avg_sq.end());
  in.insert(in.end(), updates.begin(), updates.end());
  in.push_back(grad_scale);
  in.push_back(skip);
  dispatch(adamw_all_op, in, std::make_shared<AdamWAttrs>(settings, !updates.empty()));
}

std::vector<const OpDef*> adamw_ops() {
  return {&scale_in_place_op, &lerp_op,        &lerp_square_op,  &scaled_sum_op,
          &adam_factors_op,   &denominator_op, &add_quotient_op, &adamw_all_op};
}

}  // namespace reckon::ops
