#include "ops/concat/concat.h"

#include <algorithm>

#include "ops/concat/concat_kernel.h"
#include "ops/rules.h"

namespace reckon::ops {
namespace {

constexpr size_t kMostDifferentiated = 32;  // bits of a gradient mask

Plan plan_concat(const PlanContext& c) {
  const int axis = c.as<ConcatAttrs>().axis;
  RECKON_CHECK(c.in.size() <= kMostDifferentiated || c.needs_grad == 0,
               "concat differentiates at most 32 parts, got {}: join them in groups", c.in.size());
  Shape shape = c.in[0].shape();
  shape[axis] = 0;
  for (size_t k = 0; k < c.in.size(); ++k) {
    const Tensor& t = c.in[k];
    RECKON_CHECK(t.defined() && t.dtype() == c.in[0].dtype() && t.rank() == shape.rank(),
                 "concat's part {} is {}, expected the type and rank of part 0, {}", k,
                 t.defined() ? describe(t) : "absent", describe(c.in[0]));
    for (int i = 0; i < shape.rank(); ++i)
      RECKON_CHECK(i == axis || t.shape()[i] == shape[i],
                   "concat along axis {}: part {} is {} but part 0 is {}; only axis {} may differ", axis, k,
                   describe(t), describe(c.in[0]), axis);
    shape[axis] += t.shape()[axis];
  }
  Plan p;
  p.outputs = {{.shape = shape, .dtype = c.in[0].dtype(), .label = "joined"}};
  p.launches = {{"concat"}};
  set_traffic(p, c);
  return p;
}

void plan_concat_gpu(const PlanContext& c, Plan& p) {
  for (size_t k = kConcatPartsPerLaunch; k < c.in.size(); k += kConcatPartsPerLaunch)
    p.launches.push_back({"concat"});
}

TensorList concat_backward(BackwardContext& c) {
  const int axis = c.as<ConcatAttrs>().axis;
  TensorList out(c.input_shapes.size());
  int64_t first = 0;
  for (size_t k = 0; k < out.size(); ++k) {
    const int64_t last = first + c.input_shapes[k][axis];
    if (c.needs(static_cast<int>(k))) out[k] = c.grads[0].sliced(axis, first, last);
    first = last;
  }
  return out;
}

const OpDef concat_op{
    .name = "concat",
    .fingerprint = fingerprint_by<&ConcatAttrs::axis>,
    .plan = plan_concat,
    .kernels = concat_kernels,
    .layouts = {.any = ~0u},
    .gradient = Gradient::differentiable,
    .backward = concat_backward,
    .recompute = Recompute::cheap,
    .cases =
        [] {
          const auto along = [](int a) { return std::make_shared<ConcatAttrs>(a); };
          return std::vector<OpCase>{
              {.name = "middle axis", .inputs = {normal({2, 3, 4}), normal({2, 5, 4})}, .attrs = along(1)},
              {.name = "last axis, three parts, one transposed",
               .inputs = {normal({3, 4}), {.shape = {3, 5}, .transposed = true}, normal({3, 1})},
               .attrs = along(1)},
              {.name = "first axis, transposed",
               .inputs = {{.shape = {2, 3, 4}, .transposed = true}, normal({5, 3, 4})},
               .attrs = along(0)},
              {.name = "vectors, one empty",
               .inputs = {normal({1}), normal({0}), normal({2})},
               .attrs = along(0)},
              {.name = "many parts", .inputs = std::vector<InputSpec>(20, normal({2, 3})), .attrs = along(1)}};
        },
    .gpu_plan = plan_concat_gpu};

}  // namespace

Tensor concat(std::span<const Tensor> parts, int axis) {
  RECKON_CHECK(!parts.empty(), "concat of no parts: expected at least one tensor");
  check_rank_at_least(parts[0], 1, "concat's part 0");
  axis = normalize_axis(axis, parts[0].rank());
  if (parts.size() == 1) return parts[0];
  const bool differentiates =
      std::any_of(parts.begin(), parts.end(), [](const Tensor& t) { return t.requires_grad(); });
  if (differentiates &&
      parts.size() > kMostDifferentiated) {  // more than a gradient mask names: groups of them
    TensorList groups;
    for (size_t first = 0; first < parts.size(); first += kMostDifferentiated)
      groups.push_back(concat(parts.subspan(first, std::min(kMostDifferentiated, parts.size() - first)), axis));
    return concat(groups, axis);
  }
  return call(concat_op, parts, std::make_shared<ConcatAttrs>(axis))[0];
}

std::vector<const OpDef*> concat_ops() { return {&concat_op}; }

}  // namespace reckon::ops
