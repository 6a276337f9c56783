#include "ops/grad_norm/grad_norm.h"

#include "ops/cast/cast.h"
#include "ops/concat/concat.h"
#include "ops/grad_norm/grad_norm_kernel.h"
#include "ops/kernel/plan/list_chunks.h"
#include "ops/rules.h"

namespace reckon::ops {
namespace {

constexpr const char* kNoGradient = "works on gradients, outside the graph";

DType wide_type(std::span<const Tensor> list) {
  for (const Tensor& t : list)
    if (t.dtype() == DType::f64) return DType::f64;
  return DType::f32;
}

// Two FLOPs per element and one addition per chunk; the norm of a list adds one per tensor and a root.
Plan plan_squares(const PlanContext& c, const char* first, const char* second, bool joint) {
  Plan p;
  int64_t elements = 0, chunks = 0;
  for (const Tensor& t : c.in) {
    check_floating(t, "a gradient");
    elements += t.numel();
    chunks += list_chunks(t.numel());
  }
  const DType type = wide_type(c.in);
  p.outputs = {{.shape = {1}, .dtype = type, .label = joint ? "norm" : "sum of squares"}};
  p.workspaces = {{"partial sums", static_cast<size_t>(chunks) * size_of(type)}};
  p.launches = {{first}, {second}};
  p.cost.vector_flops = 2 * elements + chunks + (joint ? static_cast<int64_t>(c.in.size()) : 0);
  p.cost.special = joint ? 1 : 0;
  set_traffic(p, c);
  return p;
}

// Chunks of the GPU's size, a launch per so many tensors, and a launch that adds up each tensor's.
void plan_squares_gpu(const PlanContext& c, Plan& p, bool joint) {
  size_t chunks = 0;
  for (const Tensor& t : c.in) chunks += static_cast<size_t>(gpu_list_chunks(t.numel()));
  p.workspaces = {{"partial sums", chunks * sizeof(float)}, {"first chunks", c.in.size() * sizeof(int64_t)}};
  p.launches = {};
  for (int i = 0; i < gpu_list_launches(static_cast<int64_t>(c.in.size())); ++i)
    p.launches.push_back({"square_chunks"});
  p.launches.push_back({"sum_chunks"});
  if (!joint) return;
  p.workspaces.push_back({"sums of squares", c.in.size() * sizeof(float)});
  p.launches.push_back({"root_of_sum"});
}

Plan plan_scale_all(const PlanContext& c) {
  const size_t n = c.in.size() - 1;
  RECKON_CHECK(c.in[n].defined() && c.in[n].numel() == 1, "scale_all_ takes a factor of one element");
  Plan p;
  int64_t elements = 0;
  for (size_t i = 0; i < n; ++i) {
    const Tensor& t = c.in[i];
    check_floating(t, "a tensor of scale_all_");
    p.outputs.push_back(
        {.shape = t.shape(), .dtype = t.dtype(), .alias_of = static_cast<int>(i), .writes = true});
    elements += t.numel();
  }
  p.launches = {{"scale_all"}};
  p.cost.vector_flops = elements;
  set_traffic(p, c);
  return p;
}

const OpDef sum_squares_op{.name = "sum_squares",
                           .plan =
                               [](const PlanContext& c) {
                                 RECKON_CHECK(c.in.size() == 1, "sum_squares takes one tensor, got {}",
                                              c.in.size());
                                 return plan_squares(c, "square_chunks", "sum_chunks", false);
                               },
                           .kernels = sum_squares_kernels,
                           .gradient_note = kNoGradient,
                           .cases =
                               [] {
                                 return std::vector<OpCase>{{.name = "chunks", .inputs = {normal({3, 4111})}},
                                                            {.name = "small", .inputs = {normal({7})}}};
                               },
                           .gpu_plan = [](const PlanContext& c, Plan& p) { plan_squares_gpu(c, p, false); }};

const OpDef root_of_sum_op{
    .name = "root_of_sum",
    .plan =
        [](const PlanContext& c) {
          check_floating(c.in[0], "root_of_sum's input");
          Plan p;
          p.outputs = {{.shape = {1}, .dtype = c.in[0].dtype(), .label = "norm"}};
          p.launches = {{"root_of_sum"}};
          p.cost.vector_flops = c.in[0].numel();
          p.cost.special = 1;
          set_traffic(p, c);
          return p;
        },
    .kernels = root_of_sum_kernels,
    .gradient_note = kNoGradient,
    .cases = [] { return std::vector<OpCase>{{.name = "list", .inputs = {positive({37})}}}; }};

const OpDef grad_norm_op{
    .name = "grad_norm",
    .plan = [](const PlanContext& c) { return plan_squares(c, "square_chunks", "norm_of_chunks", true); },
    .kernels = grad_norm_kernels,
    .gradient_note = kNoGradient,
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "three tensors", .inputs = {normal({3, 4111}), normal({7}), normal({2, 5})}},
              {.name = "an empty one", .inputs = {normal({0, 3}), normal({5})}},
              {.name = "several chunks", .inputs = {normal({5}), normal({3, 16001}), normal({70})}}};
        },
    .gpu_plan = [](const PlanContext& c, Plan& p) { plan_squares_gpu(c, p, true); }};

const OpDef clip_op{
    .name = "clip_coefficient",
    .plan =
        [](const PlanContext& c) {
          RECKON_CHECK(c.in[0].numel() == 1 && is_compute_type(c.in[0].dtype()),
                       "clip_coefficient takes a norm of one element, got {}", describe(c.in[0]));
          RECKON_CHECK(c.as<ClipAttrs>().max_norm > 0,
                       "clip_coefficient expects a largest norm above 0, got {}", c.as<ClipAttrs>().max_norm);
          Plan p;
          p.outputs = {{.shape = {1}, .dtype = c.in[0].dtype(), .label = "clip coefficient"}};
          p.launches = {{"clip_coefficient"}};
          p.cost.vector_flops = 2;
          set_traffic(p, c);
          return p;
        },
    .kernels = clip_coefficient_kernels,
    .gradient_note = kNoGradient,
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "clips", .inputs = {positive({1})}, .attrs = std::make_shared<ClipAttrs>(0.25)},
              {.name = "leaves", .inputs = {positive({1})}, .attrs = std::make_shared<ClipAttrs>(50)}};
        }};

const OpDef scale_all_op{
    .name = "scale_all",
    .plan = plan_scale_all,
    .kernels = scale_all_kernels,
    .gradient_note = kNoGradient,
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "two tensors", .inputs = {normal({3, 4111}), normal({7}), positive({1})}},
              {.name = "several chunks", .inputs = {normal({2, 16386}), positive({1})}}};
        },
    .gpu_plan =
        [](const PlanContext& c, Plan& p) {
          p.launches = {};
          for (int i = 0; i < gpu_list_launches(static_cast<int64_t>(c.in.size()) - 1); ++i)
            p.launches.push_back({"scale_all"});
        }};

TensorList dense(std::span<const Tensor> list) {
  RECKON_CHECK(!list.empty(), "the norm of an empty list of gradients: expected at least one tensor");
  TensorList out;
  for (const Tensor& t : list) out.push_back(contiguous(t.detached()));
  return out;
}

}  // namespace

Tensor grad_norm_eager(std::span<const Tensor> grads) {
  TensorList squares, list = dense(grads);
  DType type = DType::f32;
  for (const Tensor& g : grads) type = promote(type, accumulation_dtype(g.dtype()));
  for (Tensor& g : list) {
    if (type == DType::f64) g = cast(g, type);  // squared in f64 like the others, as the joint norm does
    squares.push_back(dispatch(sum_squares_op, std::span<const Tensor>(&g, 1))[0]);
    g = {};
  }
  const Tensor all = concat(squares, 0);
  squares.clear();
  return dispatch(root_of_sum_op, std::span<const Tensor>(&all, 1))[0];
}

Tensor grad_norm(std::span<const Tensor> grads) { return dispatch(grad_norm_op, dense(grads))[0]; }

Tensor clip_coefficient(const Tensor& norm, double max_norm) {
  return dispatch(clip_op, std::span<const Tensor>(&norm, 1), std::make_shared<ClipAttrs>(max_norm))[0];
}

void scale_all_(std::span<Tensor> tensors, const Tensor& factor) {
  if (tensors.empty()) return;
  TensorList in(tensors.begin(), tensors.end());
  in.push_back(factor);
  dispatch(scale_all_op, in);
}

std::vector<const OpDef*> grad_norm_ops() {
  return {&sum_squares_op, &root_of_sum_op, &grad_norm_op, &clip_op, &scale_all_op};
}

}  // namespace reckon::ops
