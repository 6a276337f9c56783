#include "ops/view/view.h"

#include "ops/cast/cast.h"
#include "ops/rules.h"
#include "ops/sum/sum.h"
#include "ops/view/view_kernel.h"

namespace reckon::ops {
namespace {

Plan view_plan(const PlanContext& c, Layout layout) {
  Plan p;
  p.outputs = {
      {.shape = layout.shape, .dtype = c.in[0].dtype(), .label = "view", .alias_of = 0, .layout = layout}};
  return p;
}

Dims inverse(const Dims& axes) {
  Dims out = Dims::filled(axes.rank(), 0);
  for (int i = 0; i < axes.rank(); ++i) out[normalize_axis(axes[i], axes.rank())] = i;
  return out;
}

void no_kernel(KernelArgs&) {}

const OpDef permute_op{
    .name = "permute",
    .plan =
        [](const PlanContext& c) { return view_plan(c, c.in[0].layout().permuted(c.as<AxesAttrs>().dims)); },
    .kernels = one_kernel(no_kernel),
    .layouts = {.any = ~0u},
    .gradient = Gradient::differentiable,
    .backward = [](BackwardContext& c) -> TensorList {
      return {c.grads[0].permuted(inverse(c.as<AxesAttrs>().dims))};
    },
    .recompute = Recompute::cheap,
    .cases =
        [] {
          return std::vector<OpCase>{{.name = "three axes",
                                      .inputs = {normal({2, 3, 4})},
                                      .attrs = std::make_shared<AxesAttrs>(Dims{2, 0, 1})}};
        }};

const OpDef reshape_op{
    .name = "reshape",
    .plan =
        [](const PlanContext& c) {
          Layout out;
          const Shape& shape = c.as<AxesAttrs>().dims;
          RECKON_CHECK(c.in[0].layout().reshaped(shape, &out), "{} with strides {} cannot be viewed as {}",
                       describe(c.in[0]), to_string(c.in[0].strides()), to_string(shape));
          return view_plan(c, out);
        },
    .kernels = one_kernel(no_kernel),
    .layouts = {.any = ~0u},
    .gradient = Gradient::differentiable,
    .backward = [](BackwardContext& c) -> TensorList { return {reshape(c.grads[0], c.input_shapes[0])}; },
    .recompute = Recompute::cheap,
    .cases =
        [] {
          return std::vector<OpCase>{{.name = "merge",
                                      .inputs = {normal({2, 3, 4})},
                                      .attrs = std::make_shared<AxesAttrs>(Dims{6, 4})}};
        }};

const OpDef expand_op{
    .name = "expand",
    .plan =
        [](const PlanContext& c) { return view_plan(c, c.in[0].layout().expanded(c.as<AxesAttrs>().dims)); },
    .kernels = one_kernel(no_kernel),
    .layouts = {.any = ~0u},
    .gradient = Gradient::differentiable,
    .backward = [](BackwardContext& c) -> TensorList { return {sum_to(c.grads[0], c.input_shapes[0])}; },
    .recompute = Recompute::cheap,
    .cases =
        [] {
          return std::vector<OpCase>{{.name = "new axis",
                                      .inputs = {normal({3, 1})},
                                      .attrs = std::make_shared<AxesAttrs>(Dims{2, 3, 4})}};
        }};

const OpDef slice_op{.name = "slice",
                     .plan =
                         [](const PlanContext& c) {
                           const auto& a = c.as<SliceAttrs>();
                           return view_plan(c, c.in[0].layout().sliced(a.axis, a.first, a.last));
                         },
                     .kernels = one_kernel(no_kernel),
                     .layouts = {.any = ~0u},
                     .gradient = Gradient::differentiable,
                     .backward = [](BackwardContext& c) -> TensorList {
                       const auto& a = c.as<SliceAttrs>();
                       return {pad_with_zeros(c.grads[0], a.axis, a.first, c.input_shapes[0][a.axis])};
                     },
                     .recompute = Recompute::cheap,
                     .cases =
                         [] {
                           return std::vector<OpCase>{{.name = "middle axis",
                                                       .inputs = {normal({2, 5, 3})},
                                                       .attrs = std::make_shared<SliceAttrs>(1, 1, 4)}};
                         }};

const OpDef pad_op{.name = "pad_with_zeros",
                   .fingerprint = fingerprint_by<&SliceAttrs::axis, &SliceAttrs::first, &SliceAttrs::last>,
                   .plan =
                       [](const PlanContext& c) {
                         const auto& a = c.as<SliceAttrs>();
                         const Tensor& x = c.in[0];
                         RECKON_CHECK(a.axis >= 0 && a.axis < x.rank() && a.first >= 0 &&
                                          a.first + x.shape()[a.axis] <= a.last,
                                      "padding of {} to extent {} from {} on axis {} does not fit", describe(x),
                                      a.last, a.first, a.axis);
                         Plan p;
                         Shape shape = x.shape();
                         shape[a.axis] = a.last;
                         p.outputs = {{.shape = shape, .dtype = x.dtype(), .label = "padded"}};
                         p.launches = {{"pad_with_zeros"}};
                         set_traffic(p, c);
                         return p;
                       },
                   .kernels = pad_kernels,
                   .gradient = Gradient::differentiable,
                   .backward = [](BackwardContext& c) -> TensorList {
                     const auto& a = c.as<SliceAttrs>();
                     return {c.grads[0].sliced(a.axis, a.first, a.first + c.input_shapes[0][a.axis])};
                   },
                   .recompute = Recompute::cheap,
                   .cases =
                       [] {
                         return std::vector<OpCase>{{.name = "middle axis",
                                                     .inputs = {normal({2, 3, 4})},
                                                     .attrs = std::make_shared<SliceAttrs>(1, 2, 7)},
                                                    {.name = "last axis",
                                                     .inputs = {normal({7, 33})},
                                                     .attrs = std::make_shared<SliceAttrs>(1, 0, 40)},
                                                    {.name = "first axis",
                                                     .inputs = {normal({3, 5})},
                                                     .attrs = std::make_shared<SliceAttrs>(0, 1, 4)}};
                       }};

}  // namespace

Tensor permute(const Tensor& x, const Dims& axes) {
  return call(permute_op, {x}, std::make_shared<AxesAttrs>(axes))[0];
}

Tensor transpose(const Tensor& x, int a, int b) {
  Dims axes;
  for (int i = 0; i < x.rank(); ++i) axes.push_back(i);
  std::swap(axes[normalize_axis(a, x.rank())], axes[normalize_axis(b, x.rank())]);
  return permute(x, axes);
}

Tensor reshape(const Tensor& x, const Shape& wanted) {
  Shape shape = wanted;
  int open = -1;
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] != -1) continue;
    RECKON_CHECK(open < 0, "reshape to {} leaves two extents open", to_string(wanted));
    shape[open = i] = 1;
  }
  if (open >= 0) {
    const int64_t known = numel(shape);
    RECKON_CHECK(known > 0 && x.numel() % known == 0,
                 "cannot reshape {} to {}: no extent {} of axis {} gives {} elements", describe(x),
                 to_string(wanted), -1, open, x.numel());
    shape[open] = x.numel() / known;
  }
  if (shape == x.shape()) return x;
  Layout layout;
  const Tensor source = x.layout().reshaped(shape, &layout) ? x : contiguous(x);
  return call(reshape_op, {source}, std::make_shared<AxesAttrs>(shape))[0];
}

Tensor expand(const Tensor& x, const Shape& shape) {
  return shape == x.shape() ? x : call(expand_op, {x}, std::make_shared<AxesAttrs>(shape))[0];
}

Tensor slice(const Tensor& x, int axis, int64_t first, int64_t last) {
  axis = normalize_axis(axis, x.rank());
  return call(slice_op, {x}, std::make_shared<SliceAttrs>(axis, first, last))[0];
}

Tensor unsqueeze(const Tensor& x, int axis) {
  axis = normalize_axis(axis, x.rank() + 1);
  Shape shape;
  for (int i = 0; i <= x.rank(); ++i) {
    if (i == axis) shape.push_back(1);
    if (i < x.rank()) shape.push_back(x.shape()[i]);
  }
  return reshape(x, shape);
}

Tensor squeeze(const Tensor& x, int axis) {
  axis = normalize_axis(axis, x.rank());
  RECKON_CHECK(x.shape()[axis] == 1, "cannot drop axis {} of {}: its extent is not 1", axis, describe(x));
  Shape shape;
  for (int i = 0; i < x.rank(); ++i)
    if (i != axis) shape.push_back(x.shape()[i]);
  return reshape(x, shape);
}

TensorList split(const Tensor& x, int axis, int n_pieces) {
  const int64_t extent = x.size(axis);
  RECKON_CHECK(n_pieces > 0 && extent % n_pieces == 0, "cannot split axis {} of {} into {} equal pieces", axis,
               describe(x), n_pieces);
  TensorList out;
  const int64_t piece = extent / n_pieces;
  for (int i = 0; i < n_pieces; ++i) out.push_back(slice(x, axis, i * piece, (i + 1) * piece));
  return out;
}

Tensor pad_with_zeros(const Tensor& x, int axis, int64_t first, int64_t extent) {
  axis = normalize_axis(axis, x.rank());
  return call(pad_op, {x}, std::make_shared<SliceAttrs>(axis, first, extent))[0];
}

std::vector<const OpDef*> view_ops() { return {&permute_op, &reshape_op, &expand_op, &slice_op, &pad_op}; }

}  // namespace reckon::ops
