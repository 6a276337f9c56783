#include "ops/masked_fill/masked_fill.h"

#include "ops/masked_fill/masked_fill_kernel.h"
#include "ops/rules.h"

namespace reckon::ops {
namespace {

Plan plan_masked_fill(const PlanContext& c) {
  const Tensor &x = c.in[0], &mask = c.in[1];
  check_floating(x, "masked_fill's input");
  RECKON_CHECK(mask.defined() && (mask.dtype() == DType::u8 || is_compute_type(mask.dtype())),
               "masked_fill's mask must be u8 or a float type, got {}", describe(mask));
  RECKON_CHECK(broadcast_shapes(x.shape(), mask.shape()) == x.shape(),
               "masked_fill's mask {} does not broadcast to the input's shape {}", describe(mask),
               to_string(x.shape()));
  Plan p = elementwise_plan(c, "masked_fill", x.dtype(), 0, 0);
  p.saves = {{false, 1}};
  return p;
}

const OpDef masked_fill_op{
    .name = "masked_fill",
    .fingerprint = fingerprint_by<&MaskedFillAttrs::value>,
    .plan = plan_masked_fill,
    .kernels = masked_fill_kernels,
    .gradient = Gradient::differentiable,
    .backward = [](BackwardContext& c) -> TensorList {
      return {masked_fill(c.grads[0], c.saved[0], 0.0), Tensor{}};
    },
    .recompute = Recompute::cheap,
    .cases =
        [] {
          const auto attrs = std::make_shared<MaskedFillAttrs>(-7.5);
          return std::vector<OpCase>{
              {.name = "same shape", .inputs = {normal({3, 5}), mask01({3, 5})}, .attrs = attrs},
              {.name = "broadcast mask", .inputs = {normal({2, 5, 600}), mask01({5, 1})}, .attrs = attrs},
              {.name = "transposed",
               .inputs = {{.shape = {5, 6}, .transposed = true}, mask01({6})},
               .attrs = attrs}};
        }};

}  // namespace

Tensor masked_fill(const Tensor& x, const Tensor& mask, double value) {
  return call(masked_fill_op, {x, mask}, std::make_shared<MaskedFillAttrs>(value))[0];
}

std::vector<const OpDef*> masked_fill_ops() { return {&masked_fill_op}; }

}  // namespace reckon::ops
