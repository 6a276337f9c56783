#include "ops/matmul/matmul.h"

#include <algorithm>

#include "ops/binary/binary.h"
#include "ops/matmul/matmul_attrs.h"
#include "ops/matmul/naive_product.h"
#include "ops/plan/fused_plan.h"
#include "ops/plan/product_plan.h"
#include "ops/sum/sum.h"
#include "ops/view/view.h"

namespace reckon::ops {

namespace {

int64_t batch_count(const Shape& out) {
  int64_t n = 1;
  for (int i = 0; i < out.rank() - 2; ++i) n *= out[i];
  return n;
}

Plan plan_matmul(const PlanContext& c) {
  using In = MatmulInput;
  const Tensor &a = c.in[In::a], &b = c.in[In::b];
  check_rank_at_least(a, 2, "matmul's first operand");
  check_rank_at_least(b, 2, "matmul's second operand");
  const int64_t m = a.size(-2), k = a.size(-1), n = b.size(-1);
  RECKON_CHECK(b.size(-2) == k,
               "matmul of {} and {}: the inner extents {} and {} differ (a transpose missing?)", describe(a),
               describe(b), k, b.size(-2));
  Shape out = broadcast_shapes(a.shape().slice(0, a.rank() - 2), b.shape().slice(0, b.rank() - 2));
  out.push_back(m);
  out.push_back(n);
  const DType t = c.attrs ? c.as<MatmulAttrs>().product : promote(a.dtype(), b.dtype());
  const int64_t batch = batch_count(out);
  Plan p;
  p.outputs = {{.shape = out, .dtype = t, .label = "product"}};
  p.launches = {{batch == 1 ? "gemm" : "batched_gemm"}};
  const auto level = static_cast<IsaLevel>(c.spec.isa_level);
  const size_t bytes =
      batch == 1 ? gemm_workspace_bytes(m, n, k, a.dtype(), b.dtype(), t, c.spec.threads, level)
                 : batched_gemm_workspace_bytes(m, n, k, batch, a.dtype(), b.dtype(), t, c.spec.threads, level);
  if (bytes > 0) p.workspaces = {{"packed panels", bytes}};
  if (c.needs(In::b)) p.saves.push_back({false, In::a});
  if (c.needs(In::a)) p.saves.push_back({false, In::b});
  p.cost.matmul_flops = checked_multiply(batch, matmul_flops(m, n, k), "FLOPs");
  set_traffic(p, c);
  return p;
}

void plan_matmul_gpu(const PlanContext& c, Plan& p) {
  using In = MatmulInput;
  const TensorArg a = shape_of_argument(c.in[In::a]), b = shape_of_argument(c.in[In::b]),
                  out = shape_of_argument(p.outputs[0]);
  const BatchedShape s = batched_shape(a, b, out);
  p.launches = {};
  p.workspaces = {};
  if (s.k == 0) return plan_empty_product(p);
  append_product(p, c.spec, gpu::product_steps(matmul_problem(s, a, b, out), s.batch));
}

void matmul_run(KernelArgs& args) {
  using In = MatmulInput;
  args.launch(0);
  const TensorArg &a = args.in[In::a], &b = args.in[In::b], &out = args.out[0];
  const BatchedShape s = batched_shape(a, b, out);
  const GemmProblem p = matmul_problem(s, a, b, out);
  std::byte* workspace = args.workspace ? args.workspace[0] : nullptr;
  const auto level = static_cast<IsaLevel>(args.isa_level);
  if (s.batch.rank == 0)
    gemm(p, workspace, args.threads, level);
  else
    batched_gemm(p, s.batch, workspace, args.threads, level);
}

void matmul_counted(KernelArgs& args) {
  args.launch(0);
  const TensorArg &a = args.in[MatmulInput::a], &b = args.in[MatmulInput::b], &out = args.out[0];
  RECKON_ISA::naive_product<Counted>(batched_shape(a, b, out), a, b, out);
}

TensorList matmul_backward(BackwardContext& c) {
  using In = MatmulInput;
  TensorList out(In::n_inputs);
  SavedReader saved(c);
  const Tensor a = saved.take(c.needs(In::b)), b = saved.take(c.needs(In::a));
  if (c.needs(In::a)) out[In::a] = sum_to(matmul(c.grads[0], b.transposed(-2, -1)), c.input_shapes[In::a]);
  if (c.needs(In::b)) out[In::b] = sum_to(matmul(a.transposed(-2, -1), c.grads[0]), c.input_shapes[In::b]);
  return out;
}

const OpDef matmul_op{
    .name = "matmul",
    .fingerprint = fingerprint_by<&MatmulAttrs::product>,
    .plan = plan_matmul,
    .kernels = one_kernel(matmul_run, matmul_counted),
    .layouts = {.any = ~0u},
    .gradient = Gradient::differentiable,
    .backward = matmul_backward,
    .precision = Precision::low,
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "plain", .inputs = {normal({5, 7}), normal({7, 3})}},
              {.name = "batch broadcasts", .inputs = {normal({2, 1, 4, 6}), normal({3, 6, 5})}},
              {.name = "transposed operand",
               .inputs = {{.shape = {9, 8}, .transposed = true}, normal({8, 33})}},
              {.name = "transposed operands",
               .inputs = {{.shape = {2, 9, 8}, .transposed = true}, {.shape = {2, 8, 5}, .transposed = true}}},
              {.name = "shared second operand", .inputs = {normal({3, 2, 4, 6}), normal({6, 5})}},
              {.name = "wide", .inputs = {normal({33, 70}), normal({70, 65})}}};
        },
    .gpu_plan = plan_matmul_gpu};

// Both operands over the whole batch in row-major order, where their batch axes step in more ways than a product
// walks through.
TensorList steppable(const Tensor& a, const Tensor& b) {
  const auto as_is = TensorList{a, b};
  if (std::max(a.rank(), b.rank()) - 2 <= GemmBatch::kMaxRank || std::min(a.rank(), b.rank()) < 2) return as_is;
  const Shape batch = broadcast_shapes(a.shape().slice(0, a.rank() - 2), b.shape().slice(0, b.rank() - 2));
  const auto over_batch = [&](const Tensor& t) {
    Shape to = batch;
    to.push_back(t.size(-2));
    to.push_back(t.size(-1));
    return expand(t, to);
  };
  const TensorList whole{over_batch(a), over_batch(b)};
  int steps = 0;
  for (int i = 0, last = -1; i < batch.rank(); ++i) {
    if (batch[i] == 1) continue;
    const auto goes_on = [&](const Tensor& t) { return t.strides()[last] == t.strides()[i] * batch[i]; };
    steps += last >= 0 && goes_on(whole[0]) && goes_on(whole[1]) ? 0 : 1;
    last = i;
  }
  if (steps <= GemmBatch::kMaxRank) return as_is;
  return {contiguous(whole[0]), contiguous(whole[1])};
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b) { return call(matmul_op, steppable(a, b))[0]; }

Tensor matmul(const Tensor& a, const Tensor& b, DType product) {
  return product == promote(a.dtype(), b.dtype())
             ? matmul(a, b)
             : call(matmul_op, steppable(a, b), std::make_shared<MatmulAttrs>(product))[0];
}

std::vector<const OpDef*> matmul_ops() { return {&matmul_op}; }

}  // namespace reckon::ops
