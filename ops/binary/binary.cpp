#include "ops/binary/binary.h"

#include "ops/cast/cast.h"
#include "ops/elementwise/formula_ops.h"
#include "ops/layouts.h"
#include "ops/sum/sum.h"

RECKON_FORMULA_SET(binary)

namespace reckon::ops {
namespace {

using namespace RECKON_ISA;

enum Operand : int { kA, kB };

std::vector<OpCase> broadcasting_cases() {
  return {{.name = "same shape", .inputs = {normal({3, 5}), positive({3, 5})}},
          {.name = "row", .inputs = {normal({4, 6}), positive({6})}},
          {.name = "column and batch", .inputs = {normal({2, 3, 1}), positive({3, 600})}},
          {.name = "transposed", .inputs = {{.shape = {5, 4}, .transposed = true}, positive({5, 4})}},
          {.name = "scalar", .inputs = {normal({3, 2}), positive({})}}};
}

TensorList add_backward(BackwardContext& c) {
  TensorList out(2);
  for (int i : {kA, kB})
    if (c.needs(i)) out[i] = sum_to(c.grads[0], c.input_shapes[i]);
  return out;
}

TensorList sub_backward(BackwardContext& c) {
  TensorList out(2);
  if (c.needs(kA)) out[kA] = sum_to(c.grads[0], c.input_shapes[kA]);
  if (c.needs(kB)) out[kB] = scale(sum_to(c.grads[0], c.input_shapes[kB]), -1.0);
  return out;
}

// Saves {b} when a needs a gradient and {a} when b does, in that order.
Plan plan_mul(const PlanContext& c) {
  Plan p = formula_plan<Mul>(c);
  if (c.needs(kA)) p.saves.push_back({false, kB});
  if (c.needs(kB)) p.saves.push_back({false, kA});
  return p;
}

TensorList mul_backward(BackwardContext& c) {
  TensorList out(2);
  size_t next = 0;
  for (int i : {kA, kB})
    if (c.needs(i)) out[i] = sum_to(mul(c.grads[0], c.saved[next++]), c.input_shapes[i]);
  return out;
}

// Saves {b} and, when b needs a gradient, the quotient: d(a/b)/db = -(a/b)/b.
Plan plan_div(const PlanContext& c) {
  Plan p = formula_plan<Div>(c);
  p.saves.push_back({false, kB});
  if (c.needs(kB)) p.saves.push_back({true, 0});
  return p;
}

TensorList div_backward(BackwardContext& c) {
  TensorList out(2);
  const Tensor per_b = div(c.grads[0], c.saved[0]);
  if (c.needs(kA)) out[kA] = sum_to(per_b, c.input_shapes[kA]);
  if (c.needs(kB)) out[kB] = scale(sum_to(mul(per_b, c.saved[1]), c.input_shapes[kB]), -1.0);
  return out;
}

TensorList affine_backward(BackwardContext& c) { return {scale(c.grads[0], c.as<AffineAttrs>().scale)}; }

template <double factor, double shift>
std::vector<OpCase> affine_cases() {
  return {
      {.name = "matrix", .inputs = {normal({3, 5})}, .attrs = std::make_shared<AffineAttrs>(factor, shift)}};
}

Plan plan_accumulate(const PlanContext& c) {
  check_shape(c.in[kB], c.in[kA].shape(), "accumulate's summand");
  Plan p = elementwise_plan(c, "accumulate", c.in[kA].dtype(), Accumulate::cost.flops, 0);
  p.outputs[0].alias_of = kA;
  p.outputs[0].writes = true;
  return p;
}

// Sums and differences are kept: rebuilding one in a residual stream would rebuild the whole stream below it.
// Products and quotients are rebuilt.
const OpDef add_op = formula_op<Add>(binary_set, {.backward = add_backward, .cases = broadcasting_cases});
const OpDef sub_op = formula_op<Sub>(binary_set, {.backward = sub_backward, .cases = broadcasting_cases});
const OpDef mul_op = formula_op<Mul>(
    binary_set,
    {.plan = plan_mul, .backward = mul_backward, .recompute = Recompute::cheap, .cases = broadcasting_cases});
const OpDef div_op = formula_op<Div>(
    binary_set,
    {.plan = plan_div, .backward = div_backward, .recompute = Recompute::cheap, .cases = broadcasting_cases});
const OpDef affine_op = formula_op<Affine>(
    binary_set, {.backward = affine_backward, .recompute = Recompute::cheap, .cases = affine_cases<1.5, -0.5>});
const OpDef scale_op = formula_op<Scale>(
    binary_set,
    {.backward = affine_backward, .recompute = Recompute::cheap, .cases = affine_cases<-0.75, 0.0>});
const OpDef accumulate_op = formula_op<Accumulate>(
    binary_set, {.plan = plan_accumulate,
                 .layouts = {.any = input_bits(kB)},
                 .gradient_note = "in-place sum of gradients",
                 .cases = [] {
                   return std::vector<OpCase>{{.name = "matrix", .inputs = {normal({3, 5}), normal({3, 5})}}};
                 }});

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) { return call(add_op, {a, b})[0]; }
Tensor sub(const Tensor& a, const Tensor& b) { return call(sub_op, {a, b})[0]; }
Tensor mul(const Tensor& a, const Tensor& b) { return call(mul_op, {a, b})[0]; }
Tensor div(const Tensor& a, const Tensor& b) { return call(div_op, {a, b})[0]; }
Tensor affine(const Tensor& x, double scale, double shift) {
  return call(affine_op, {x}, std::make_shared<AffineAttrs>(scale, shift))[0];
}
Tensor scale(const Tensor& x, double factor) {
  return call(scale_op, {x}, std::make_shared<AffineAttrs>(factor, 0.0))[0];
}

void accumulate(Tensor& a, const Tensor& b) {
  const std::array<Tensor, 2> in{a, overlap_in_other_layout(a, b) ? copy(b) : b};
  dispatch(accumulate_op, in);
}

std::vector<const OpDef*> binary_ops() {
  return {&add_op, &sub_op, &mul_op, &div_op, &affine_op, &scale_op, &accumulate_op};
}

}  // namespace reckon::ops
