#include "ops/softmax/softmax.h"

#include "ops/cast/cast.h"
#include "ops/rules.h"
#include "ops/softmax/softmax_inputs.h"
#include "ops/softmax/softmax_kernel.h"
#include "ops/view/view.h"

namespace reckon::ops {
namespace {

struct RowCost {
  int64_t flops_per_element, flops_per_row, special_per_element, special_per_row;
};

// One launch over the rows of `x`.
Plan row_plan(const PlanContext& c, const Tensor& x, const char* name, const Shape& out, DType type,
              const char* label, RowCost cost) {
  check_rank_at_least(x, 1, name);
  check_floating(x, name);
  for (const Tensor& t : c.in)
    RECKON_CHECK(t.contiguous(), "{} needs contiguous tensors, got {} with strides {}", name, describe(t),
                 to_string(t.strides()));
  const int64_t n = x.numel(), rows = rows_of(x);
  Plan p;
  p.outputs = {{.shape = out, .dtype = type, .label = label}};
  p.launches = {{name}};
  p.cost.vector_flops = checked_multiply(n, cost.flops_per_element, "FLOPs") + rows * cost.flops_per_row;
  p.cost.special =
      checked_multiply(n, cost.special_per_element, "special functions") + rows * cost.special_per_row;
  set_traffic(p, c);
  return p;
}

Plan same_shape_plan(const PlanContext& c, const char* name, RowCost cost, const char* label = "out") {
  return row_plan(c, c.in[0], name, c.in[0].shape(), c.in[0].dtype(), label, cost);
}

Plan gradient_plan(const PlanContext& c, const char* name, RowCost cost) {
  const Tensor& y = c.in[softmax_backward_in::y];
  check_shape(y, c.in[softmax_backward_in::g].shape(), name);
  return row_plan(c, y, name, y.shape(), y.dtype(), "dx", cost);
}

Shape two_of(const Shape& rows) {
  Shape s{2};
  for (int64_t extent : rows) s.push_back(extent);
  return s;
}
Shape without_last(const Tensor& x) { return x.shape().slice(0, x.rank() - 1); }

std::vector<OpCase> row_cases() {
  return {{.name = "vector", .inputs = {normal({37})}},
          {.name = "rows", .inputs = {normal({3, 4, 11})}},
          {.name = "several tiles", .inputs = {normal({2, 600})}},
          {.name = "rows of 64", .inputs = {normal({35, 64})}},
          {.name = "rows of 128", .inputs = {normal({37, 128})}},
          {.name = "rows of 200", .inputs = {normal({19, 200})}},
          {.name = "rows of 1036", .inputs = {normal({3, 1036})}},
          {.name = "wide rows", .inputs = {normal({2, 4103})}},
          {.name = "one column", .inputs = {normal({6, 1})}}};
}

std::vector<OpCase> pair_cases() {
  return {{.name = "rows", .inputs = {normal({3, 4, 11}), unit({3, 4, 11})}},
          {.name = "several tiles", .inputs = {normal({2, 600}), unit({2, 600})}},
          {.name = "rows of 128", .inputs = {normal({37, 128}), unit({37, 128})}},
          {.name = "rows of 200", .inputs = {normal({19, 200}), unit({19, 200})}},
          {.name = "wide rows", .inputs = {normal({2, 4100}), unit({2, 4100})}}};
}

constexpr const char* kNoSecond = "second derivatives are not offered";

const OpDef softmax_backward_op{.name = "softmax_backward",
                                .plan =
                                    [](const PlanContext& c) {
                                      return gradient_plan(c, "softmax_backward", {4, 0, 0, 0});
                                    },
                                .kernels = softmax_backward_kernels,
                                .gradient = Gradient::none,
                                .gradient_note = kNoSecond,
                                .cases = pair_cases};

const OpDef softmax_op{
    .name = "softmax",
    .plan =
        [](const PlanContext& c) {
          Plan p = same_shape_plan(c, "softmax", {4, 1, 1, 0});
          p.saves = {{true, 0}};
          if (size_of(p.outputs[0].dtype) < sizeof(float))
            p.workspaces = {{"rows before rounding",
                             static_cast<size_t>(c.spec.threads * c.in[0].size(-1)) * sizeof(float)}};
          return p;
        },
    .kernels = softmax_kernels,
    .gradient = Gradient::differentiable,
    .backward = [](BackwardContext& c) -> TensorList {
      return call(softmax_backward_op, {contiguous(c.grads[0]), c.saved[0]});
    },
    .precision = Precision::fp32,
    .cases = row_cases,
    .gpu_plan = [](const PlanContext&, Plan& p) { p.workspaces = {}; }};  // rows wait in registers

const OpDef log_softmax_backward_op{.name = "log_softmax_backward",
                                    .plan =
                                        [](const PlanContext& c) {
                                          return gradient_plan(c, "log_softmax_backward", {3, 0, 1, 0});
                                        },
                                    .kernels = log_softmax_backward_kernels,
                                    .gradient = Gradient::none,
                                    .gradient_note = kNoSecond,
                                    .cases = pair_cases};

const OpDef log_softmax_op{.name = "log_softmax",
                           .plan =
                               [](const PlanContext& c) {
                                 Plan p = same_shape_plan(c, "log_softmax", {5, 0, 1, 1});
                                 p.saves = {{true, 0}};
                                 return p;
                               },
                           .kernels = log_softmax_kernels,
                           .gradient = Gradient::differentiable,
                           .backward = [](BackwardContext& c) -> TensorList {
                             return call(log_softmax_backward_op, {contiguous(c.grads[0]), c.saved[0]});
                           },
                           .precision = Precision::fp32,
                           .cases = row_cases};

const OpDef logsumexp_backward_op{
    .name = "logsumexp_backward",
    .plan =
        [](const PlanContext& c) {
          const Tensor& x = c.in[logsumexp_backward_in::x];
          check_shape(c.in[logsumexp_backward_in::g], without_last(x), "logsumexp's output gradient");
          const Tensor& statistics = c.in[logsumexp_backward_in::statistics];
          check_shape(statistics, two_of(without_last(x)), "logsumexp's row statistics");
          RECKON_CHECK(statistics.dtype() == accumulation_dtype(x.dtype()),
                       "logsumexp_backward needs row statistics of {}, got {}",
                       name_of(accumulation_dtype(x.dtype())), describe(statistics));
          return row_plan(c, x, "logsumexp_backward", x.shape(), x.dtype(), "dx", {3, 0, 1, 0});
        },
    .kernels = logsumexp_backward_kernels,
    .gradient = Gradient::none,
    .gradient_note = kNoSecond,
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "rows", .inputs = {normal({3, 4}), normal({3, 4, 11}), two_statistics({3, 4})}},
              {.name = "rows of 128", .inputs = {normal({19}), normal({19, 128}), two_statistics({19})}},
              {.name = "several tiles", .inputs = {normal({2}), normal({2, 600}), two_statistics({2})}}};
        }};

const OpDef logsumexp_op{.name = "logsumexp",
                         .plan =
                             [](const PlanContext& c) {
                               check_rank_at_least(c.in[0], 1, "logsumexp's input");
                               Plan p = row_plan(c, c.in[0], "logsumexp", without_last(c.in[0]),
                                                 c.in[0].dtype(), "logsumexp", {3, 1, 1, 1});
                               p.outputs.push_back({.shape = two_of(without_last(c.in[0])),
                                                    .dtype = accumulation_dtype(c.in[0].dtype()),
                                                    .label = "row statistics",
                                                    .differentiable = false});
                               p.saves = {{false, 0}, {true, logsumexp_out::statistics}};
                               set_traffic(p, c);
                               return p;
                             },
                         .kernels = logsumexp_kernels,
                         .gradient = Gradient::differentiable,
                         .backward = [](BackwardContext& c) -> TensorList {
                           return call(logsumexp_backward_op, {contiguous(c.grads[0]), c.saved[0], c.saved[1]});
                         },
                         .precision = Precision::fp32,
                         .cases = row_cases};

// The axis as the last one, in row-major order.
Tensor as_rows(const Tensor& x, int axis) {
  const int last = x.rank() - 1;
  return contiguous(axis == last ? x : transpose(x, axis, last));
}

Tensor along_axis(const OpDef& op, const Tensor& x, int axis) {
  axis = normalize_axis(axis, x.rank());
  const Tensor y = call(op, {as_rows(x, axis)})[0];
  return axis == x.rank() - 1 ? y : transpose(y, axis, x.rank() - 1);
}

}  // namespace

Tensor softmax(const Tensor& x, int axis) { return along_axis(softmax_op, x, axis); }
Tensor log_softmax(const Tensor& x, int axis) { return along_axis(log_softmax_op, x, axis); }

Tensor logsumexp(const Tensor& x, int axis) {
  axis = normalize_axis(axis, x.rank());
  Dims order;  // moves the axis to the end and keeps the others in order
  for (int i = 0; i < x.rank(); ++i)
    if (i != axis) order.push_back(i);
  order.push_back(axis);
  return call(logsumexp_op, {contiguous(axis == x.rank() - 1 ? x : permute(x, order))})[0];
}

std::vector<const OpDef*> softmax_ops() {
  return {&softmax_op,   &softmax_backward_op,  &log_softmax_op, &log_softmax_backward_op,
          &logsumexp_op, &logsumexp_backward_op};
}

}  // namespace reckon::ops
