#include "ops/cast/cast.h"

#include "ops/cast/cast_kernel.h"
#include "ops/rules.h"
#include "runtime/core/element.h"

namespace reckon::ops {
namespace {

// The 8-bit floats are rare and slow to convert; they go value by value through the exact conversions.
void cast_f8(KernelArgs& a) {
  a.launch(0);
  const TensorArg &x = a.in[0], &y = a.out[0];
  for (int64_t i = 0; i < y.numel(); ++i) store_element(y.data, y.dtype, i, load_element(x.data, x.dtype, i));
}

bool is_f8(DType t) { return t == DType::f8e4m3 || t == DType::f8e5m2; }

// By way of f32 an integer above 2^24 would be rounded twice on its way to 16 bits.
bool needs_f64(const KernelArgs& a) { return a.in[0].dtype == DType::i64 && size_of(a.out[0].dtype) == 2; }

template <KernelFn Plain>
void cast_any(KernelArgs& a) {
  if (is_f8(a.in[0].dtype) || is_f8(a.out[0].dtype)) return cast_f8(a);
  needs_f64(a) ? cast_kernels.reference(a) : Plain(a);
}

Plan plan_cast(const PlanContext& c) {
  const DType to = c.as<CastAttrs>().to, from = c.in[0].dtype();
  RECKON_CHECK(to != DType::i64 || from == DType::i64, "a cast from {} to i64 is not offered", name_of(from));
  RECKON_CHECK(!(is_f8(from) || is_f8(to)) || (is_floating(from) && is_floating(to) && c.in[0].contiguous()),
               "8-bit floats convert only from and to contiguous floats, got {} to {}", describe(c.in[0]),
               name_of(to));
  Plan p = elementwise_plan(c, "cast", to, 0, 0);
  p.outputs[0].category = Category::cast;
  return p;
}

Plan plan_cast_all(const PlanContext& c) {
  const DType to = c.as<CastAttrs>().to;
  RECKON_CHECK(!c.in.empty() && c.in.size() <= size_t{kMostCasts}, "cast_all takes 1 to {} tensors, got {}",
               kMostCasts, c.in.size());
  Plan p;
  for (const Tensor& t : c.in) {
    RECKON_CHECK(is_compute_type(t.dtype()) && is_compute_type(to) && t.contiguous(),
                 "cast_all converts contiguous floats, got {} to {}", describe(t), name_of(to));
    p.outputs.push_back({.shape = t.shape(), .dtype = to, .category = Category::cast});
  }
  p.launches = {{"cast_all"}};
  set_traffic(p, c);
  return p;
}

const OpDef cast_op{
    .name = "cast",
    .fingerprint = fingerprint_by<&CastAttrs::to>,
    .plan = plan_cast,
    .kernels = {.cpu = {cast_any<isa_v1::cast_cpu>, cast_any<isa_v3::cast_cpu>, cast_any<isa_v4::cast_cpu>},
                .reference = cast_any<cast_kernels.reference>,
                .counted = cast_kernels.counted},
    .layouts = {.any = ~0u},
    .gradient = Gradient::differentiable,
    .backward = [](BackwardContext& c) -> TensorList { return {cast(c.grads[0], c.input_dtypes[0])}; },
    .recompute = Recompute::cheap,
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "to f64", .inputs = {normal({3, 5})}, .attrs = std::make_shared<CastAttrs>(DType::f64)},
              {.name = "transposed",
               .inputs = {{.shape = {5, 4}, .transposed = true}},
               .attrs = std::make_shared<CastAttrs>(DType::f64)}};
        }};

const OpDef cast_all_op{
    .name = "cast_all",
    .fingerprint = fingerprint_by<&CastAttrs::to>,
    .plan = plan_cast_all,
    .kernels = cast_all_kernels,
    .gradient = Gradient::none,
    .gradient_note = "autograd records each tensor's cast by itself",
    .cases = [] {
      return std::vector<OpCase>{{.name = "to f64",
                                  .inputs = {normal({3, 5}), normal({2, 4111}), normal({0, 3}), normal({7})},
                                  .attrs = std::make_shared<CastAttrs>(DType::f64)}};
    }};

const OpDef contiguous_op{
    .name = "contiguous",
    .plan = [](const PlanContext& c) { return elementwise_plan(c, "contiguous", c.in[0].dtype(), 0, 0); },
    .kernels = contiguous_kernels,
    .layouts = {.any = ~0u},
    .gradient = Gradient::differentiable,
    .backward = [](BackwardContext& c) -> TensorList { return {c.grads[0]}; },
    .recompute = Recompute::cheap,
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "transposed", .inputs = {{.shape = {3, 4, 5}, .transposed = true}}}};
        }};

}  // namespace

Tensor cast(const Tensor& x, DType to) {
  if (x.dtype() == to) return x;
  return call(cast_op, {is_f8(x.dtype()) || is_f8(to) ? contiguous(x) : x}, std::make_shared<CastAttrs>(to))[0];
}

TensorList cast_all(std::span<const Tensor> list, DType to) {
  return call(cast_all_op, list, std::make_shared<CastAttrs>(to));
}

Tensor contiguous(const Tensor& x) { return x.contiguous() ? x : call(contiguous_op, {x})[0]; }

Tensor copy(const Tensor& x) { return call(contiguous_op, {x})[0]; }

const OpDef& cast_definition() { return cast_op; }
const OpDef& cast_all_definition() { return cast_all_op; }
AttrsPtr cast_attrs(DType to) { return std::make_shared<CastAttrs>(to); }

std::vector<const OpDef*> cast_ops() { return {&cast_op, &cast_all_op, &contiguous_op}; }

}  // namespace reckon::ops
