#include "ops/index_select/index_select.h"

#include "ops/index_select/index_select_kernel.h"
#include "ops/kernel/plan/scatter_rows.h"
#include "ops/rules.h"

namespace reckon::ops {
namespace {

void check_ids(const Tensor& ids, const char* op) {
  RECKON_CHECK(ids.defined() && ids.dtype() == DType::i64, "{}'s indices must be i64, got {}", op,
               ids.defined() ? describe(ids) : "none");
}

// Kernels cannot raise errors; an index outside would read or write foreign memory.
void check_range(const TensorArg& ids, int64_t extent) {
  const int64_t n = ids.numel();
  for (int64_t i = 0; i < n; ++i) {
    const int64_t id = ids.as<int64_t>()[i];
    RECKON_CHECK(id >= 0 && id < extent, "index {} at position {} is outside [0, {})", id, i, extent);
  }
}

template <int ids>
void check_ids(KernelArgs& a) {
  check_range(a.in[ids], a.as<IndexAttrs>().extent);
}
void check_classes(KernelArgs& a) { check_range(a.in[0], a.as<OneHotAttrs>().n_classes); }

// `whole` with the axis replaced by the axes of ids.
Shape selected_shape(const Shape& whole, int axis, const Shape& ids) {
  Shape out = whole.slice(0, axis);
  for (int64_t e : ids) out.push_back(e);
  for (int i = axis + 1; i < whole.rank(); ++i) out.push_back(whole[i]);
  return out;
}

Plan plan_index_select(const PlanContext& c) {
  const auto& a = c.as<IndexAttrs>();
  const Tensor &x = c.in[index_select_in::x], &ids = c.in[index_select_in::ids];
  check_ids(ids, "index_select");
  RECKON_CHECK(x.shape()[a.axis] == a.extent, "index_select needs an input of extent {} on axis {}, got {}",
               a.extent, a.axis, describe(x));
  Plan p;
  p.outputs = {
      {.shape = selected_shape(x.shape(), a.axis, ids.shape()), .dtype = x.dtype(), .label = "selected"}};
  p.launches = {{"index_select"}};
  if (c.needs(index_select_in::x)) p.saves = {{false, index_select_in::ids}};
  set_traffic(p, c);
  p.cost.bytes_read = traffic_bytes(p.outputs[0]) + traffic_bytes(ids);  // only what is picked
  return p;
}

// One addition per element of src.
Plan plan_scatter_add(const PlanContext& c) {
  const auto& a = c.as<IndexAttrs>();
  const Tensor &x = c.in[scatter_add_in::x], &ids = c.in[scatter_add_in::ids], &src = c.in[scatter_add_in::src];
  check_floating(src, "scatter_add's source");
  check_ids(ids, "scatter_add");
  RECKON_CHECK(src.rank() >= a.axis + ids.rank(), "scatter_add's source {} has too few axes for indices {}",
               describe(src), describe(ids));
  Shape shape = src.shape().slice(0, a.axis);
  shape.push_back(a.extent);
  for (int i = a.axis + ids.rank(); i < src.rank(); ++i) shape.push_back(src.shape()[i]);
  check_shape(src, selected_shape(shape, a.axis, ids.shape()), "scatter_add's source");
  if (x.defined()) check_shape(x, shape, "scatter_add's input");
  const DType type = x.defined() ? promote(x.dtype(), src.dtype()) : src.dtype();
  Plan p;
  p.outputs = {{.shape = shape, .dtype = type, .label = "sums"}};
  if (type == DType::bf16 || type == DType::f16)
    p.workspaces = {{"f32 sums", static_cast<size_t>(numel(shape)) * 4}};
  p.launches = {{"scatter_add"}};
  if (c.needs(scatter_add_in::src)) p.saves = {{false, scatter_add_in::ids}};
  p.cost.vector_flops = src.numel();
  set_traffic(p, c);
  return p;
}

void plan_scatter_add_gpu(const PlanContext& c, Plan& p) {
  const int64_t n = c.in[scatter_add_in::ids].numel(), extent = c.as<IndexAttrs>().extent;
  RECKON_CHECK(n < int64_t{1} << 31 && extent < int64_t{1} << 31,
               "scatter_add on a GPU counts positions in 32 bits, got {} indices into {} rows", n, extent);
  const ScatterWorkspaces w = scatter_workspaces(n, extent, n > 0 ? c.in[scatter_add_in::src].numel() / n : 0);
  p.workspaces = {{"list heads", w.heads},
                  {"positions by index", w.order},
                  {"runs of an index", w.runs},
                  {"sums of windows", w.window_sums}};
  p.launches = {{"scatter_order"}, {"scatter_link"}, {"scatter_add"}};
}

TensorList index_select_backward(BackwardContext& c);

const OpDef scatter_add_op{
    .name = "scatter_add",
    .fingerprint = fingerprint_by<&IndexAttrs::axis, &IndexAttrs::extent>,
    .plan = plan_scatter_add,
    .kernels = checked_kernels<check_ids<scatter_add_in::ids>, scatter_add_kernels>(),
    .gradient = Gradient::differentiable,
    .backward = [](BackwardContext& c) -> TensorList {
      TensorList out(scatter_add_in::n_inputs);
      if (c.needs(scatter_add_in::src))
        out[scatter_add_in::src] = index_select(c.grads[0], c.as<IndexAttrs>().axis, c.saved[0]);
      if (c.needs(scatter_add_in::x)) out[scatter_add_in::x] = c.grads[0];
      return out;
    },
    .cases =
        [] {
          const auto at = [](int axis, int64_t n) { return std::make_shared<IndexAttrs>(axis, n); };
          return std::vector<OpCase>{{.name = "rows with repeats",
                                      .inputs = {normal({5, 301}), index({9}, 5), normal({9, 301})},
                                      .attrs = at(0, 5)},
                                     {.name = "middle axis, onto zeros",
                                      .inputs = {absent(), index({6}, 4), normal({3, 6, 7})},
                                      .attrs = at(1, 4)},
                                     {.name = "last axis, indices of two axes",
                                      .inputs = {normal({4, 3}), index({2, 5}, 3), normal({4, 2, 5})},
                                      .attrs = at(1, 3)}};
        },
    .gpu_plan = plan_scatter_add_gpu};

const OpDef index_select_op{
    .name = "index_select",
    .fingerprint = fingerprint_by<&IndexAttrs::axis, &IndexAttrs::extent>,
    .plan = plan_index_select,
    .kernels = checked_kernels<check_ids<index_select_in::ids>, index_select_kernels>(),
    .gradient = Gradient::differentiable,
    .backward = index_select_backward,
    .recompute = Recompute::cheap,
    .cases = [] {
      const auto at = [](int axis, int64_t n) { return std::make_shared<IndexAttrs>(axis, n); };
      return std::vector<OpCase>{
          {.name = "rows", .inputs = {normal({5, 7}), index({9}, 5)}, .attrs = at(0, 5)},
          {.name = "middle axis", .inputs = {normal({3, 4, 6}), index({2}, 4)}, .attrs = at(1, 4)},
          {.name = "last axis, indices of two axes",
           .inputs = {normal({3, 8}), index({2, 5}, 8)},
           .attrs = at(1, 8)}};
    }};

TensorList index_select_backward(BackwardContext& c) {
  const auto& a = c.as<IndexAttrs>();
  return {call(scatter_add_op, {Tensor{}, c.saved[0], c.grads[0]},
               std::make_shared<IndexAttrs>(a.axis, a.extent))[0]};
}

const OpDef one_hot_op{
    .name = "one_hot",
    .fingerprint = fingerprint_by<&OneHotAttrs::n_classes, &OneHotAttrs::dtype>,
    .plan =
        [](const PlanContext& c) {
          const auto& a = c.as<OneHotAttrs>();
          check_ids(c.in[0], "one_hot");
          RECKON_CHECK(a.n_classes > 0, "one_hot expects at least one class, got {}", a.n_classes);
          RECKON_CHECK(a.dtype != DType::f8e4m3 && a.dtype != DType::f8e5m2, "one_hot does not write {}",
                       name_of(a.dtype));
          Plan p;
          Shape shape = c.in[0].shape();
          shape.push_back(a.n_classes);
          p.outputs = {{.shape = shape, .dtype = a.dtype, .label = "one_hot"}};
          p.launches = {{"one_hot"}};
          set_traffic(p, c);
          return p;
        },
    .kernels = checked_kernels<check_classes, one_hot_kernels>(),
    .gradient_note = "integers in, constants out",
    .cases =
        [] {
          return std::vector<OpCase>{{.name = "f32",
                                      .inputs = {index({3, 4}, 5)},
                                      .attrs = std::make_shared<OneHotAttrs>(5, DType::f32)},
                                     {.name = "bf16",
                                      .inputs = {index({6}, 3)},
                                      .attrs = std::make_shared<OneHotAttrs>(3, DType::bf16)}};
        }};

}  // namespace

Tensor index_select(const Tensor& x, int axis, const Tensor& ids) {
  axis = normalize_axis(axis, x.rank());
  return call(index_select_op, {x, ids}, std::make_shared<IndexAttrs>(axis, x.size(axis)))[0];
}

Tensor scatter_add(const Tensor& x, int axis, const Tensor& ids, const Tensor& src) {
  axis = normalize_axis(axis, x.rank());
  return call(scatter_add_op, {x, ids, src}, std::make_shared<IndexAttrs>(axis, x.size(axis)))[0];
}

Tensor one_hot(const Tensor& ids, int64_t n_classes, DType dtype) {
  return call(one_hot_op, {ids}, std::make_shared<OneHotAttrs>(n_classes, dtype))[0];
}

std::vector<const OpDef*> index_select_ops() { return {&index_select_op, &scatter_add_op, &one_hot_op}; }

}  // namespace reckon::ops
