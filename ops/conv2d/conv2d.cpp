#include "ops/conv2d/conv2d.h"

#include <algorithm>
#include <cstring>

#include "ops/conv2d/conv2d_steps.h"
#include "ops/conv2d/geometry.h"
#include "ops/conv2d/plain.h"
#include "ops/kernel/cpu/gemm.h"
#include "ops/plan/fused_plan.h"
#include "ops/plan/product_plan.h"
#include "ops/sum/sum.h"

namespace reckon::ops {
namespace {

bool is_half(DType t) { return t == DType::bf16 || t == DType::f16; }
Shape shape_of(const TensorArg& t) {
  return Shape(std::span<const int64_t>(t.shape, static_cast<size_t>(t.rank)));
}

// Largest workspace of the products over whole tiles and over the last one.
size_t product_bytes(const PlanContext& c, const ConvGeometry& g, auto bytes_for) {
  const auto level = static_cast<IsaLevel>(c.spec.isa_level);
  return std::max(bytes_for(g.tile, level), bytes_for(g.tail(), level));
}

void narrow(const float* from, int64_t n, const TensorArg& to, int64_t offset) {
  if (to.dtype == DType::bf16)
    for (int64_t i = 0; i < n; ++i) to.as<bf16>()[offset + i].bits = f32_to_bf16(from[i]);
  else
    for (int64_t i = 0; i < n; ++i) to.as<f16>()[offset + i].bits = f32_to_f16(from[i]);
}

std::byte* at(const TensorArg& t, int64_t element) {
  return t.data + element * static_cast<int64_t>(size_of(t.dtype));
}

// ---- forward: per image, group and tile, out [p, og] = columns^T weight^T + bias ----------------------------

Plan plan_conv2d(const PlanContext& c) {
  using In = ConvInput;
  const Tensor &x = c.in[In::x], &w = c.in[In::weight], &b = c.in[In::bias];
  check_floating(x, "conv2d's input");
  check_floating(w, "conv2d's weight");
  const ConvGeometry g = conv_geometry(x.shape(), w.shape(), c.as<ConvAttrs>());
  if (b.defined()) check_shape(b, {g.o}, "conv2d's bias");
  const DType t = promote(x.dtype(), w.dtype());
  Plan p;
  p.outputs = {{.shape = {g.n, g.o, g.ho, g.wo}, .dtype = t}};
  p.launches = {{"conv2d"}};
  p.workspaces = {{"packed panels", product_bytes(c, g, [&](int64_t columns, IsaLevel level) {
                     return gemm_workspace_bytes(columns, g.og, g.k, x.dtype(), w.dtype(), t, c.spec.threads,
                                                 level);
                   })}};
  if (!g.pointwise)
    p.workspaces.push_back({"unfolded tile", static_cast<size_t>(g.k * g.tile) * size_of(x.dtype())});
  if (c.needs(In::weight)) p.saves.push_back({false, In::x});
  if (c.needs(In::x)) p.saves.push_back({false, In::weight});
  p.cost.matmul_flops = matmul_flops(g.n * g.o, g.p, g.k);
  p.cost.vector_flops = b.defined() ? g.n * g.o * g.p : 0;
  set_traffic(p, c);
  return p;
}

void conv2d_run(KernelArgs& a) {
  a.launch(0);
  using In = ConvInput;
  const TensorArg &x = a.in[In::x], &w = a.in[In::weight], &b = a.in[In::bias], &y = a.out[0];
  const ConvGeometry g = conv_geometry(shape_of(x), shape_of(w), a.as<ConvAttrs>());
  for (int64_t n = 0; n < g.n; ++n)
    for (int64_t group = 0; group < g.groups; ++group)
      for (int64_t first = 0; first < g.p; first += g.tile) {
        const int64_t count = std::min(g.tile, g.p - first);
        const std::byte* columns = at(x, (n * g.c + group * g.cg) * g.h * g.w);
        if (!g.pointwise) {
          unfold(g, columns, first, count, a.workspace[1], size_of(x.dtype), a.threads);
          columns = a.workspace[1];
        }
        const GemmProblem p{.m = count,
                            .n = g.og,
                            .k = g.k,
                            .a = {columns, x.dtype, 1, count},
                            .b = {at(w, group * g.og * g.k), w.dtype, 1, g.k},
                            .c = at(y, (n * g.o + group * g.og) * g.p + first),
                            .c_dtype = y.dtype,
                            .c_row_stride = 1,
                            .c_col_stride = g.p,
                            .bias = b.defined() ? at(b, group * g.og) : nullptr,
                            .bias_dtype = b.defined() ? b.dtype : DType::f32};
        gemm(p, a.workspace[0], a.threads, static_cast<IsaLevel>(a.isa_level));
      }
}

// ---- gradient of the input: columns [k, p] = weight^T g, folded back ----------------------------------------

Plan plan_input_gradient(const PlanContext& c) {
  using In = ConvInputGradientInput;
  const Tensor &dy = c.in[In::dout], &w = c.in[In::weight];
  const auto& a = c.as<ConvAttrs>();
  check_floating(dy, "conv2d's output gradient");
  check_floating(w, "conv2d's weight");
  const Shape shape{dy.size(0), w.size(1) * a.groups, a.image[0], a.image[1]};
  const ConvGeometry g = conv_geometry(shape, w.shape(), a);
  check_shape(dy, {g.n, g.o, g.ho, g.wo}, "conv2d's output gradient");
  const DType t = promote(dy.dtype(), w.dtype()), made = g.pointwise ? t : accumulation_dtype(t);
  Plan p;
  p.outputs = {{.shape = shape, .dtype = t, .label = "dx"}};
  p.launches = {{"conv2d_input_gradient"}};
  p.workspaces = {{"packed panels", product_bytes(c, g, [&](int64_t columns, IsaLevel level) {
                     return gemm_workspace_bytes(g.k, columns, g.og, w.dtype(), dy.dtype(), made,
                                                 c.spec.threads, level);
                   })}};
  if (!g.pointwise) {
    p.workspaces.push_back({"unfolded tile", static_cast<size_t>(g.k * g.tile) * size_of(made)});
    if (is_half(t)) p.workspaces.push_back({"f32 sums", static_cast<size_t>(g.cg * g.h * g.w) * 4});
  }
  p.cost.matmul_flops = matmul_flops(g.n * g.o, g.p, g.k);
  // Folding adds every column element that lies inside the image.
  p.cost.vector_flops = g.pointwise ? 0 : g.n * g.c * g.pairs_inside(0) * g.pairs_inside(1);
  set_traffic(p, c);
  return p;
}

template <class C>
void input_gradient_as(KernelArgs& a) {
  a.launch(0);
  using In = ConvInputGradientInput;
  const TensorArg &dy = a.in[In::dout], &w = a.in[In::weight], &dx = a.out[0];
  const ConvGeometry g = conv_geometry(shape_of(dx), shape_of(w), a.as<ConvAttrs>());
  const int64_t plane = g.cg * g.h * g.w;
  constexpr DType made = sizeof(C) == sizeof(double) ? DType::f64 : DType::f32;
  for (int64_t n = 0; n < g.n; ++n)
    for (int64_t group = 0; group < g.groups; ++group) {
      const int64_t offset = (n * g.c + group * g.cg) * g.h * g.w;
      C* image = is_half(dx.dtype) ? reinterpret_cast<C*>(g.pointwise ? nullptr : a.workspace[2])
                                   : dx.as<C>() + offset;
      if (!g.pointwise) std::memset(static_cast<void*>(image), 0, static_cast<size_t>(plane) * sizeof(C));
      for (int64_t first = 0; first < g.p; first += g.tile) {
        const int64_t count = std::min(g.tile, g.p - first);
        const GemmProblem p{.m = g.k,
                            .n = count,
                            .k = g.og,
                            .a = {at(w, group * g.og * g.k), w.dtype, 1, g.k},
                            .b = {at(dy, (n * g.o + group * g.og) * g.p + first), dy.dtype, g.p, 1},
                            .c = g.pointwise ? at(dx, offset) : a.workspace[1],
                            .c_dtype = g.pointwise ? dx.dtype : made,
                            .c_row_stride = count,
                            .c_col_stride = 1};
        gemm(p, a.workspace[0], a.threads, static_cast<IsaLevel>(a.isa_level));
        if (!g.pointwise) fold(g, reinterpret_cast<const C*>(a.workspace[1]), first, count, image, a.threads);
      }
      if constexpr (sizeof(C) == sizeof(float))
        if (is_half(dx.dtype) && !g.pointwise) narrow(image, plane, dx, offset);
    }
}

// ---- gradient of the weight: [og, k] = sum over images and tiles of g columns^T -----------------------------

Plan plan_weight_gradient(const PlanContext& c) {
  using In = ConvWeightGradientInput;
  const Tensor &dy = c.in[In::dout], &x = c.in[In::x];
  const auto& a = c.as<ConvAttrs>();
  check_floating(dy, "conv2d's output gradient");
  check_floating(x, "conv2d's input");
  const Shape shape{dy.size(1), x.size(1) / a.groups, a.kernel[0], a.kernel[1]};
  const ConvGeometry g = conv_geometry(x.shape(), shape, a);
  check_shape(dy, {g.n, g.o, g.ho, g.wo}, "conv2d's output gradient");
  const DType t = promote(dy.dtype(), x.dtype());
  Plan p;
  p.outputs = {{.shape = shape, .dtype = t, .label = "dweight"}};
  p.launches = {{"conv2d_weight_gradient"}};
  p.workspaces = {{"packed panels", product_bytes(c, g, [&](int64_t columns, IsaLevel level) {
                     return gemm_workspace_bytes(g.og, g.k, columns, dy.dtype(), x.dtype(),
                                                 accumulation_dtype(t), c.spec.threads, level);
                   })}};
  if (!g.pointwise)
    p.workspaces.push_back({"unfolded tile", static_cast<size_t>(g.k * g.tile) * size_of(x.dtype())});
  if (is_half(t)) p.workspaces.push_back({"f32 sums", static_cast<size_t>(g.o * g.k) * 4});
  p.cost.matmul_flops = matmul_flops(g.n * g.o, g.p, g.k);
  set_traffic(p, c);
  return p;
}

void weight_gradient_run(KernelArgs& a) {
  a.launch(0);
  using In = ConvWeightGradientInput;
  const TensorArg &dy = a.in[In::dout], &x = a.in[In::x], &dw = a.out[0];
  const ConvGeometry g = conv_geometry(shape_of(x), shape_of(dw), a.as<ConvAttrs>());
  const DType made = accumulation_dtype(dw.dtype);
  std::byte* sums = is_half(dw.dtype) ? a.workspace[g.pointwise ? 1 : 2] : dw.data;
  for (int64_t group = 0; group < g.groups; ++group) {
    std::byte* c = sums + group * g.og * g.k * static_cast<int64_t>(size_of(made));
    bool started = false;
    for (int64_t n = 0; n < g.n; ++n)
      for (int64_t first = 0; first < g.p; first += g.tile) {
        const int64_t count = std::min(g.tile, g.p - first);
        const std::byte* columns = at(x, (n * g.c + group * g.cg) * g.h * g.w);
        if (!g.pointwise) {
          unfold(g, columns, first, count, a.workspace[1], size_of(x.dtype), a.threads);
          columns = a.workspace[1];
        }
        const GemmProblem p{.m = g.og,
                            .n = g.k,
                            .k = count,
                            .a = {at(dy, (n * g.o + group * g.og) * g.p + first), dy.dtype, g.p, 1},
                            .b = {columns, x.dtype, 1, count},
                            .c = c,
                            .c_dtype = made,
                            .c_row_stride = g.k,
                            .c_col_stride = 1,
                            .accumulate = started};
        gemm(p, a.workspace[0], a.threads, static_cast<IsaLevel>(a.isa_level));
        started = true;
      }
    if (!started) std::memset(c, 0, static_cast<size_t>(g.og * g.k) * size_of(made));
  }
  if (is_half(dw.dtype)) narrow(reinterpret_cast<const float*>(sums), g.o * g.k, dw, 0);
}

// ---- on a GPU -----------------------------------------------------------------------------------------------

void plan_on_gpu(const PlanContext& c, Plan& p, const char* library_call, bool takes_bias) {
  const Tensor &a = c.in[0], &b = c.in[1];  // the two operands, whichever they are
  if (a.numel() == 0 || b.numel() == 0) return plan_empty_product(p);
  const ConvSteps s{{{a.dtype(), a.numel()}, {b.dtype(), b.numel()}},
                    takes_bias && c.in[ConvInput::bias].defined()};
  p.launches = {};
  p.workspaces = {{"library workspace", c.spec.library_workspace_bytes}};
  constexpr const char* labels[2] = {"first operand, converted", "second operand, converted"};
  for (int i = 0; i < 2; ++i) {
    if (!s.converts(i)) continue;
    p.launches.push_back({"pack"});
    p.workspaces.push_back({labels[i], s.converted_bytes(i)});
  }
  p.launches.push_back({library_call, LaunchKind::library});
  if (s.adds_bias) p.launches.push_back({"add_channel_bias"});
}

// ---- declarations -------------------------------------------------------------------------------------------

std::shared_ptr<ConvAttrs> attributes(Dims stride, Dims padding, Dims dilation, int64_t groups,
                                      Dims image = {0, 0}, Dims kernel = {0, 0}) {
  auto a = std::make_shared<ConvAttrs>();
  for (int i = 0; i < 2; ++i) {
    a->stride[i] = stride[i], a->padding[i] = padding[i], a->dilation[i] = dilation[i];
    a->image[i] = image[i], a->kernel[i] = kernel[i];
  }
  a->groups = groups;
  return a;
}

constexpr const char* kSecond = "second derivatives are not offered";

const OpDef input_gradient_op{
    .name = "conv2d_input_gradient",
    .plan = plan_input_gradient,
    .kernels = {.cpu = {input_gradient_as<float>, input_gradient_as<float>, input_gradient_as<float>},
                .reference = input_gradient_as<double>,
                .counted = plain_conv2d_input_gradient},
    .gradient_note = kSecond,
    .cases =
        [] {
          return std::vector<OpCase>{{.name = "padded",
                                      .inputs = {normal({2, 4, 7, 6}), normal({4, 3, 3, 3})},
                                      .attrs = attributes({1, 1}, {1, 1}, {1, 1}, 1, {7, 6})},
                                     {.name = "groups, strides",
                                      .inputs = {normal({1, 6, 4, 3}), normal({6, 2, 3, 2})},
                                      .attrs = attributes({2, 3}, {2, 1}, {2, 1}, 2, {8, 7})},
                                     {.name = "pointwise",
                                      .inputs = {normal({2, 5, 3, 4}), normal({5, 6, 1, 1})},
                                      .attrs = attributes({1, 1}, {0, 0}, {1, 1}, 1, {3, 4})}};
        },
    .gpu_plan = [](const PlanContext& c, Plan& p) { plan_on_gpu(c, p, "conv2d_input_gradient", false); }};

const OpDef weight_gradient_op{
    .name = "conv2d_weight_gradient",
    .plan = plan_weight_gradient,
    .kernels = one_kernel(weight_gradient_run, plain_conv2d_weight_gradient),
    .gradient_note = kSecond,
    .cases =
        [] {
          return std::vector<OpCase>{{.name = "padded",
                                      .inputs = {normal({2, 4, 7, 6}), normal({2, 3, 7, 6})},
                                      .attrs = attributes({1, 1}, {1, 1}, {1, 1}, 1, {0, 0}, {3, 3})},
                                     {.name = "groups, strides",
                                      .inputs = {normal({1, 6, 4, 3}), normal({1, 4, 8, 7})},
                                      .attrs = attributes({2, 3}, {2, 1}, {2, 1}, 2, {0, 0}, {3, 2})},
                                     {.name = "pointwise",
                                      .inputs = {normal({2, 5, 3, 4}), normal({2, 6, 3, 4})},
                                      .attrs = attributes({1, 1}, {0, 0}, {1, 1}, 1, {0, 0}, {1, 1})}};
        },
    .gpu_plan = [](const PlanContext& c, Plan& p) { plan_on_gpu(c, p, "conv2d_weight_gradient", false); }};

TensorList conv2d_backward(BackwardContext& c) {
  using In = ConvInput;
  TensorList out(In::n_inputs);
  SavedReader saved(c);
  const Tensor x = saved.take(c.needs(In::weight)), w = saved.take(c.needs(In::x));
  const Tensor g = take_gradient(c);
  auto attrs = std::make_shared<ConvAttrs>(c.as<ConvAttrs>());
  for (int i = 0; i < 2; ++i) {
    attrs->image[i] = c.input_shapes[In::x][2 + i];
    attrs->kernel[i] = c.input_shapes[In::weight][2 + i];
  }
  if (c.needs(In::bias)) out[In::bias] = sum(g, {0, 2, 3});
  if (c.needs(In::weight)) out[In::weight] = call(weight_gradient_op, {g, x}, attrs)[0];
  if (c.needs(In::x)) out[In::x] = call(input_gradient_op, {g, w}, attrs)[0];
  return out;
}

const OpDef conv2d_op{.name = "conv2d",
                      .plan = plan_conv2d,
                      .kernels = one_kernel(conv2d_run, plain_conv2d),
                      .gradient = Gradient::differentiable,
                      .backward = conv2d_backward,
                      .precision = Precision::low,
                      .cases =
                          [] {
                            return std::vector<OpCase>{
                                {.name = "padded, bias",
                                 .inputs = {normal({2, 3, 7, 6}), normal({4, 3, 3, 3}), normal({4})},
                                 .attrs = attributes({1, 1}, {1, 1}, {1, 1}, 1)},
                                {.name = "groups, dilation, strides",
                                 .inputs = {normal({1, 4, 8, 7}), normal({6, 2, 3, 2}), absent()},
                                 .attrs = attributes({2, 3}, {2, 1}, {2, 1}, 2)},
                                {.name = "pointwise",
                                 .inputs = {normal({2, 6, 3, 4}), normal({5, 6, 1, 1}), normal({5})},
                                 .attrs = attributes({1, 1}, {0, 0}, {1, 1}, 1)},
                                {.name = "depthwise",
                                 .inputs = {normal({1, 3, 6, 5}), normal({3, 1, 3, 3}), normal({3})},
                                 .attrs = attributes({1, 1}, {1, 1}, {1, 1}, 3)}};
                          },
                      .gpu_plan = [](const PlanContext& c, Plan& p) { plan_on_gpu(c, p, "conv2d", true); }};

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Dims& stride,
              const Dims& padding, const Dims& dilation, int64_t groups) {
  RECKON_CHECK(stride.rank() == 2 && padding.rank() == 2 && dilation.rank() == 2,
               "conv2d expects stride, padding and dilation as two numbers each, got {}, {}, {}",
               to_string(stride), to_string(padding), to_string(dilation));
  return call(conv2d_op, {x, weight, bias}, attributes(stride, padding, dilation, groups))[0];
}

std::vector<const OpDef*> conv2d_ops() { return {&conv2d_op, &input_gradient_op, &weight_gradient_op}; }

}  // namespace reckon::ops
