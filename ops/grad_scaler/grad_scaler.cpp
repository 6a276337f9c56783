#include "ops/grad_scaler/grad_scaler.h"

#include <array>

#include "ops/cast/cast.h"
#include "ops/grad_scaler/grad_scaler_kernel.h"
#include "ops/kernel/plan/list_chunks.h"
#include "ops/rules.h"

namespace reckon::ops {
namespace {

// Looking at an exponent is no FLOP.
Plan plan_non_finite(const PlanContext& c) {
  Plan p;
  int64_t chunks = 0;
  for (const Tensor& t : c.in) {
    check_floating(t, "a gradient");
    chunks += list_chunks(t.numel());
  }
  p.outputs = {{.shape = {1}, .dtype = DType::f32, .label = "found_inf"}};
  p.workspaces = {{"chunk flags", static_cast<size_t>(chunks)}};
  p.launches = {{"flag_chunks"}, {"any_flag"}};
  set_traffic(p, c);
  return p;
}

void plan_non_finite_gpu(const PlanContext& c, Plan& p) {
  size_t chunks = 0;
  for (const Tensor& t : c.in) chunks += static_cast<size_t>(gpu_list_chunks(t.numel()));
  p.workspaces = {{"chunk flags", chunks}};
  p.launches = {};
  for (int i = 0; i < gpu_list_launches(static_cast<int64_t>(c.in.size())); ++i)
    p.launches.push_back({"flag_chunks"});
  p.launches.push_back({"any_flag"});
}

Plan plan_scaler_update(const PlanContext& c) {
  const auto& a = c.as<ScalerAttrs>();
  const Tensor &scale = c.in[scaler_update_in::scale], &tracker = c.in[scaler_update_in::tracker],
               &found_inf = c.in[scaler_update_in::found_inf];
  RECKON_CHECK(scale.numel() == 1 && (scale.dtype() == DType::f32 || scale.dtype() == DType::f64),
               "scaler_update's scale must be one f32 element, got {}", describe(scale));
  RECKON_CHECK(tracker.numel() == 1 && tracker.dtype() == DType::i64,
               "scaler_update's growth tracker must be one i64 element, got {}", describe(tracker));
  RECKON_CHECK(found_inf.numel() == 1 && is_compute_type(found_inf.dtype()),
               "scaler_update's found_inf must be one float, got {}", describe(found_inf));
  RECKON_CHECK(a.growth > 1 && a.backoff > 0 && a.backoff < 1 && a.interval >= 1,
               "scaler_update expects growth > 1, backoff in (0, 1), interval >= 1; got {}, {}, {}", a.growth,
               a.backoff, a.interval);
  Plan p;
  p.outputs = {
      {.shape = scale.shape(), .dtype = scale.dtype(), .alias_of = scaler_update_in::scale, .writes = true},
      {.shape = tracker.shape(),
       .dtype = tracker.dtype(),
       .alias_of = scaler_update_in::tracker,
       .writes = true,
       .differentiable = false}};
  p.launches = {{"scaler_update"}};
  p.cost.vector_flops = 2;
  set_traffic(p, c);
  return p;
}

InputSpec as_f32(InputSpec s) {
  s.fixed_f32 = true;
  return s;
}

const OpDef non_finite_op{
    .name = "non_finite",
    .plan = plan_non_finite,
    .kernels = non_finite_kernels,
    .gradient_note = "a flag",
    .cases =
        [] {
          return std::vector<OpCase>{{.name = "two tensors", .inputs = {normal({3, 4111}), normal({7})}}};
        },
    .gpu_plan = plan_non_finite_gpu};

const OpDef scaler_update_op{
    .name = "scaler_update",
    .plan = plan_scaler_update,
    .kernels = scaler_update_kernels,
    .gradient_note = "moves a scale in place",
    .cases = [] {
      const auto attrs = std::make_shared<ScalerAttrs>(2.0, 0.5, 1);
      return std::vector<OpCase>{{.name = "backs off",
                                  .inputs = {as_f32(positive({1})), index({1}, 3), positive({1})},
                                  .attrs = attrs}};
    }};

}  // namespace

Tensor non_finite(std::span<const Tensor> grads) {
  RECKON_CHECK(!grads.empty(), "non_finite of an empty list: expected at least one tensor");
  TensorList in;
  for (const Tensor& g : grads) in.push_back(contiguous(g.detached()));
  return dispatch(non_finite_op, in)[0];
}

void scaler_update(Tensor& scale, Tensor& growth_tracker, const Tensor& found_inf, double growth,
                   double backoff, int64_t interval) {
  const std::array<Tensor, scaler_update_in::n_inputs> in{scale, growth_tracker, found_inf};
  dispatch(scaler_update_op, in, std::make_shared<ScalerAttrs>(growth, backoff, interval));
}

std::vector<const OpDef*> grad_scaler_ops() { return {&non_finite_op, &scaler_update_op}; }

}  // namespace reckon::ops
