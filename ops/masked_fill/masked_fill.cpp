#include "ops/masked_fill/masked_fill.h"

#include "ops/elementwise/formula_ops.h"

RECKON_FORMULA_SET(masked_fill)

namespace reckon::ops {
namespace {

enum Input : int { kX, kMask };

Plan plan_masked_fill(const PlanContext& c) {
  const Tensor &x = c.in[kX], &mask = c.in[kMask];
  check_floating(x, "masked_fill's input");
  RECKON_CHECK(mask.defined() && (mask.dtype() == DType::u8 || is_compute_type(mask.dtype())),
               "masked_fill's mask must be u8 or a float type, got {}", describe(mask));
  RECKON_CHECK(broadcast_shapes(x.shape(), mask.shape()) == x.shape(),
               "masked_fill's mask {} does not broadcast to the input's shape {}", describe(mask),
               to_string(x.shape()));
  Plan p = elementwise_plan(c, "masked_fill", x.dtype(), 0, 0);
  p.saves = {{false, kMask}};
  return p;
}

TensorList masked_fill_backward(BackwardContext& c) {
  return {masked_fill(c.grads[0], c.saved[0], 0.0), Tensor{}};
}

std::vector<OpCase> masked_fill_cases() {
  const auto attrs = std::make_shared<MaskedFillAttrs>(-7.5);
  return {
      {.name = "same shape", .inputs = {normal({3, 5}), mask01({3, 5})}, .attrs = attrs},
      {.name = "broadcast mask", .inputs = {normal({2, 5, 600}), mask01({5, 1})}, .attrs = attrs},
      {.name = "transposed", .inputs = {{.shape = {5, 6}, .transposed = true}, mask01({6})}, .attrs = attrs}};
}

const OpDef masked_fill_op =
    formula_op<RECKON_ISA::MaskedFill>(masked_fill_set, {.plan = plan_masked_fill,
                                                         .backward = masked_fill_backward,
                                                         .recompute = Recompute::cheap,
                                                         .cases = masked_fill_cases});

}  // namespace

Tensor masked_fill(const Tensor& x, const Tensor& mask, double value) {
  return call(masked_fill_op, {x, mask}, std::make_shared<MaskedFillAttrs>(value))[0];
}

std::vector<const OpDef*> masked_fill_ops() { return {&masked_fill_op}; }

}  // namespace reckon::ops
