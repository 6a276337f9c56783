#include "ops/linear/linear.h"

#include "ops/kernel/cpu/gemm.h"
#include "ops/kernel/cpu/scalar.h"
#include "ops/linear/linear_problem.h"
#include "ops/matmul/matmul.h"
#include "ops/plan/fused_plan.h"
#include "ops/plan/product_plan.h"
#include "ops/sum/sum.h"

namespace reckon::ops {
namespace {

Plan plan_linear(const PlanContext& c) {
  using In = LinearInput;
  const Tensor &x = c.in[In::x], &w = c.in[In::weight], &b = c.in[In::bias];
  check_rank_at_least(x, 1, "linear's input");
  RECKON_CHECK(w.rank() == 2 && w.size(1) == x.size(-1),
               "linear of {} with weight {}: expected a weight [out, {}]", describe(x), describe(w),
               x.size(-1));
  if (b.defined()) check_shape(b, {w.size(0)}, "linear's bias");
  const int64_t k = w.size(1), n = w.size(0), m = rows_of(x);
  const DType t = promote(x.dtype(), w.dtype());
  Plan p;
  p.outputs = {{.shape = with_last(x.shape(), n), .dtype = t}};
  p.launches = {{"gemm"}};
  const size_t bytes = gemm_workspace_bytes(m, n, k, x.dtype(), w.dtype(), t, c.spec.threads,
                                            static_cast<IsaLevel>(c.spec.isa_level));
  if (bytes > 0) p.workspaces = {{"packed panels", bytes}};
  if (c.needs(In::weight)) p.saves.push_back({false, In::x});
  if (c.needs(In::x)) p.saves.push_back({false, In::weight});
  p.cost.matmul_flops = matmul_flops(m, n, k);
  p.cost.vector_flops = b.defined() ? m * n : 0;  // the bias
  set_traffic(p, c);
  return p;
}

void plan_linear_gpu(const PlanContext& c, Plan& p) {
  TensorArg in[LinearInput::n_inputs];
  for (size_t i = 0; i < LinearInput::n_inputs; ++i) in[i] = shape_of_argument(c.in[i]);
  p.launches = {};
  p.workspaces = {};
  if (c.in[LinearInput::weight].size(1) == 0) return plan_empty_product(p);
  append_product(p, c.spec, gpu::product_steps(linear_problem(in, shape_of_argument(p.outputs[0])), {}));
}

void linear_run(KernelArgs& args) {
  args.launch(0);
  const GemmProblem p = linear_problem(args.in, args.out[0]);
  gemm(p, args.workspace ? args.workspace[0] : nullptr, args.threads, static_cast<IsaLevel>(args.isa_level));
}

void linear_counted(KernelArgs& args) {
  args.launch(0);
  using In = LinearInput;
  const TensorArg &x = args.in[In::x], &w = args.in[In::weight], &b = args.in[In::bias], &y = args.out[0];
  const int64_t k = w.shape[1], n = w.shape[0], m = y.rows();
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      Counted acc(0);
      for (int64_t l = 0; l < k; ++l) acc += x.as<Counted>()[i * k + l] * w.as<Counted>()[j * k + l];
      if (b.defined()) acc += b.as<Counted>()[j];
      y.as<Counted>()[i * n + j] = acc;
    }
}

TensorList linear_backward(BackwardContext& c) {
  using In = LinearInput;
  TensorList out(In::n_inputs);
  SavedReader saved(c);
  const Tensor x = saved.take(c.needs(In::weight)), w = saved.take(c.needs(In::x));
  const Tensor g = take_gradient(c);
  const int64_t m = rows_of(g);
  const Tensor g2 = g.reshaped({m, g.size(-1)});
  if (c.needs(In::bias)) out[In::bias] = sum_wide(g2, {0});
  if (c.needs(In::weight))
    out[In::weight] = matmul(g2.transposed(0, 1), x.reshaped({m, x.size(-1)}), accumulation_dtype(g.dtype()));
  if (c.needs(In::x)) out[In::x] = matmul(g2, w).reshaped(c.input_shapes[In::x]);
  return out;
}

const OpDef linear_op{.name = "linear",
                      .plan = plan_linear,
                      .kernels = one_kernel(linear_run, linear_counted),
                      .gradient = Gradient::differentiable,
                      .backward = linear_backward,
                      .precision = Precision::low,
                      .cases =
                          [] {
                            return std::vector<OpCase>{
                                {.name = "bias", .inputs = {normal({2, 3, 7}), normal({5, 7}), normal({5})}},
                                {.name = "no bias", .inputs = {normal({9, 33}), normal({40, 33}), absent()}},
                                {.name = "one row", .inputs = {normal({31}), normal({65, 31}), normal({65})}}};
                          },
                      .gpu_plan = plan_linear_gpu};

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  return call(linear_op, {x, weight, bias})[0];
}

std::vector<const OpDef*> linear_ops() { return {&linear_op}; }

}  // namespace reckon::ops
