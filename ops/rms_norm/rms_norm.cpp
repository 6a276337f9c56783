#include "ops/rms_norm/rms_norm.h"

#include "ops/kernel/plan/norm_pieces.h"
#include "ops/rms_norm/rms_norm_kernel.h"
#include "ops/rules.h"

namespace reckon::ops {
namespace {

Plan plan_rms_norm(const PlanContext& c) {
  const Tensor &x = c.in[rms_norm_in::x], &w = c.in[rms_norm_in::weight];
  check_rank_at_least(x, 1, "rms_norm's input");
  check_shape(w, {x.size(-1)}, "rms_norm's weight");
  const int64_t width = x.size(-1), rows = rows_of(x);
  Plan p;
  p.outputs = {{.shape = x.shape(), .dtype = x.dtype()},
               {.shape = x.shape().slice(0, x.rank() - 1),
                .dtype = accumulation_dtype(x.dtype()),
                .label = "rstd",
                .differentiable = false}};
  p.launches = {{"rms_norm"}};
  p.saves = {{false, rms_norm_in::x}, {false, rms_norm_in::weight}, {true, 1}};
  p.cost.vector_flops = rows * (4 * width + 3);
  p.cost.special = rows;
  set_traffic(p, c);
  return p;
}

Plan plan_rms_norm_backward(const PlanContext& c) {
  const Tensor &g = c.in[rms_norm_backward_in::g], &x = c.in[rms_norm_backward_in::x],
               &w = c.in[rms_norm_backward_in::weight];
  check_shape(g, x.shape(), "rms_norm's output gradient");
  const int64_t width = x.size(-1), rows = rows_of(x);
  Plan p;
  p.outputs = {{.shape = x.shape(), .dtype = x.dtype(), .label = "dx"},
               {.shape = w.shape(), .dtype = w.dtype(), .label = "dweight"}};
  p.launches = {{"rms_norm_dx"}, {"rms_norm_dweight"}};
  p.cost.vector_flops = rows * (10 * width + 3);  // dx: 7c + 3 per row, dw: 3c per row
  set_traffic(p, c);
  return p;
}

void plan_rms_norm_backward_gpu(const PlanContext& c, Plan& p) {
  const Tensor& x = c.in[rms_norm_backward_in::x];
  const int64_t width = x.size(-1), rows = rows_of(x);
  p.workspaces = {
      {"sums of row pieces", static_cast<size_t>(norm_gpu_pieces(rows, width) * width) * sizeof(float)}};
  p.launches = {{"rms_norm_backward"}, {"rms_norm_dweight"}};
}

const OpDef rms_norm_backward_op{
    .name = "rms_norm_backward",
    .plan = plan_rms_norm_backward,
    .kernels = rms_norm_backward_kernels,
    .gradient = Gradient::none,
    .gradient_note = "second derivatives are not offered",
    .cases =
        [] {
          const auto rows = [](const char* name, int64_t rows, int64_t width) {
            InputSpec r = positive({rows});
            r.fixed_f32 = true;
            return OpCase{.name = name,
                          .inputs = {normal({rows, width}), normal({rows, width}), normal({width}), r}};
          };
          return std::vector<OpCase>{
              rows("rows", 4, 70),          rows("narrow rows", 77, 20),    rows("rows of 64", 35, 64),
              rows("rows of 128", 37, 128), rows("several tiles", 19, 896), rows("wide rows", 18, 1025)};
        },
    .gpu_plan = plan_rms_norm_backward_gpu};

const OpDef rms_norm_op{
    .name = "rms_norm",
    .fingerprint = fingerprint_by<&RmsNormAttrs::eps>,
    .plan = plan_rms_norm,
    .kernels = rms_norm_kernels,
    .gradient = Gradient::differentiable,
    .backward = [](BackwardContext& c) -> TensorList {
      return call(rms_norm_backward_op, {c.grads[0], c.saved[0], c.saved[1], c.saved[2]});
    },
    .precision = Precision::fp32,
    .recompute = Recompute::cheap,
    .cases =
        [] {
          const auto attrs = std::make_shared<RmsNormAttrs>(1e-6);
          return std::vector<OpCase>{
              {.name = "one tile", .inputs = {normal({2, 3, 8}), normal({8})}, .attrs = attrs},
              {.name = "rows of 200", .inputs = {normal({19, 200}), normal({200})}, .attrs = attrs},
              {.name = "several tiles", .inputs = {normal({3, 1100}), normal({1100})}, .attrs = attrs}};
        }};

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  return call(rms_norm_op, {x, weight}, std::make_shared<RmsNormAttrs>(eps))[0];
}

std::vector<const OpDef*> rms_norm_ops() { return {&rms_norm_op, &rms_norm_backward_op}; }

}  // namespace reckon::ops
