// Makes ops of formulas: plan, kernels, cost, backward, cases. For the .cpp of an elementwise op, which
// is made by ops/CMakeLists.txt where the formula says everything, and written by hand where it
// composes its gradient of other ops.
#pragma once

#include <array>
#include <type_traits>

#include "ops/elementwise/formula_kernels.h"
#include "ops/rules.h"

namespace reckon::ops {

// The formulas of one folder and their tables of kernels, one per instruction set.
// RECKON_FORMULA_SET(swiglu) makes `swiglu_set`.
template <class List>
struct FormulaSet {
  const FormulaKernels* (*level[3])();
};

#define RECKON_FORMULA_SET(folder)                                                                             \
  namespace reckon::ops {                                                                                      \
  namespace isa_v1 {                                                                                           \
  const FormulaKernels* folder##_formula_kernels();                                                            \
  }                                                                                                            \
  namespace isa_v3 {                                                                                           \
  const FormulaKernels* folder##_formula_kernels();                                                            \
  }                                                                                                            \
  namespace isa_v4 {                                                                                           \
  const FormulaKernels* folder##_formula_kernels();                                                            \
  }                                                                                                            \
  namespace {                                                                                                  \
  constexpr FormulaSet<RECKON_ISA::folder##_formulas> folder##_set{                                            \
      {isa_v1::folder##_formula_kernels, isa_v3::folder##_formula_kernels, isa_v4::folder##_formula_kernels}}; \
  }                                                                                                            \
  }

// What the made .cpp says besides, of a folder in which every formula has its derivative.
#define RECKON_FORMULA_OPS(folder)                                          \
  RECKON_FORMULA_SET(folder)                                                \
  namespace reckon::ops {                                                   \
  std::vector<const OpDef*> folder##_ops() { return ops_of(folder##_set); } \
  }

namespace {

template <class F, class... All>
constexpr int place_of(const FormulaSet<Formulas<All...>>&) {
  int place = 0;
  (void)((std::is_same_v<F, All> || (++place, false)) || ...);
  return place;
}

template <auto... Fields>
constexpr FingerprintFn fingerprint_of(Attributes<Fields...>) {
  if constexpr (sizeof...(Fields) > 0)
    return fingerprint_by<Fields...>;
  else
    return nullptr;
}

// "swiglu's up", "dup"; they live as long as the program.
template <class F>
const char* called(int input) {
  static const std::string names[] = {fmt::format("{}'s {}", F::name, F::inputs[0]),
                                      fmt::format("{}'s {}", F::name, F::inputs[F::n_inputs - 1])};
  return names[input].c_str();
}
template <class F>
const char* gradient_label(int input) {
  static const std::string labels[] = {fmt::format("d{}", F::inputs[0]),
                                       fmt::format("d{}", F::inputs[F::n_inputs - 1])};
  return labels[input].c_str();
}

// The result has the inputs' broadcast shape and their wider type.
template <class F>
Plan formula_plan(const PlanContext& c) {
  return elementwise_plan(c, F::name, promoted_dtype(c), F::cost.flops, F::cost.special);
}

// With a derivative: floats of one shape; keeps both inputs, or of a function of
// one tensor the one that it names.
template <WithDerivative F>
Plan checked_formula_plan(const PlanContext& c) {
  for (int i = 0; i < F::n_inputs; ++i) check_floating(c.in[i], called<F>(i));
  Plan p;
  if constexpr (F::n_inputs == 1) {
    p = formula_plan<F>(c);
    p.saves = {{F::keeps == Keeps::output, 0}};
  } else {
    check_shape(c.in[1], c.in[0].shape(), called<F>(1));
    p = formula_plan<F>(c);
    p.saves = {{false, 0}, {false, 1}};
  }
  return p;
}

namespace gradient_in {
enum Input : int { g, x, y };  // x: the only kept tensor, or the first input; y: the second input
}

template <WithDerivative F>
Plan gradient_plan(const PlanContext& c) {
  using namespace gradient_in;
  const auto plan = [&](DType out) {
    return elementwise_plan(c, gradient_name<F>(), out, F::gradient_cost.flops, F::gradient_cost.special);
  };
  if constexpr (F::n_inputs == 1) {
    return plan(c.in[g].dtype());
  } else {
    static const std::string output_gradient = fmt::format("{}'s output gradient", F::name);
    check_shape(c.in[g], c.in[x].shape(), output_gradient.c_str());
    check_shape(c.in[y], c.in[x].shape(), called<F>(1));
    Plan p = plan(c.in[x].dtype());
    p.outputs[0].label = gradient_label<F>(0);
    p.outputs.push_back({.shape = c.in[y].shape(), .dtype = c.in[y].dtype(), .label = gradient_label<F>(1)});
    set_traffic(p, c);
    return p;
  }
}

template <WithDerivative F>
TensorList formula_backward(BackwardContext& c) {
  static const OpDef& op = op_by_name(gradient_name<F>());
  if constexpr (F::n_inputs == 1) {
    return {call(op, {c.grads[0], c.saved[0]})[0]};
  } else {
    TensorList both = call(op, {c.grads[0], c.saved[0], c.saved[1]});
    for (int i = 0; i < 2; ++i)  // one that nobody asked for is freed before the other is passed on
      if (!c.needs(i)) both[i] = {};
    return both;
  }
}

template <WithDerivative F>
std::vector<OpCase> formula_cases() {
  const auto each = [](const char* name, Shape shape, bool transposed) {
    OpCase c{.name = name};
    if constexpr (F::n_inputs == 1)
      c.inputs = {{.shape = shape,
                   .kind = F::domain == Domain::positive ? InputKind::positive : InputKind::normal,
                   .transposed = transposed}};
    else
      c.inputs = {{.shape = shape, .transposed = transposed}, normal(shape)};
    return c;
  };
  return {each("vector", {7}, false), each("tiles", {3, 700}, false), each("transposed", {5, 6}, true)};
}

template <WithDerivative F>
std::vector<OpCase> gradient_cases() {
  if constexpr (F::n_inputs == 1)
    return {{.name = "matrix", .inputs = {normal({5, 130}), positive({5, 130})}}};
  else
    return {
        {.name = "tiles", .inputs = {normal({3, 700}), normal({3, 700}), normal({3, 700})}},
        {.name = "transposed",
         .inputs = {
             {.shape = {5, 6}, .transposed = true}, normal({5, 6}), {.shape = {5, 6}, .transposed = true}}}};
}

// The op of formula F; `op` brings what the formula does not say (plan, backward, cases,
// recompute), where it has no derivative.
template <class F, class List>
OpDef formula_op(const FormulaSet<List>& set, OpDef op = {}) {
  static_assert(!WithDerivative<F> || F::Constants::count == 0,
                "a formula with attributes has no df: write its backward in a .cpp, as ops/masked_fill does");
  const int i = place_of<F>(set);
  op.name = F::name;
  op.fingerprint = fingerprint_of(typename F::Constants{});
  op.kernels = {{set.level[0]()[i].formula, set.level[1]()[i].formula, set.level[2]()[i].formula},
                RECKON_ISA::formula_kernel<double, F>,
                RECKON_ISA::formula_kernel<Counted, F>};
  if (op.layouts.any == 0) op.layouts = {.any = ~0u};
  if constexpr (WithDerivative<F>) {
    op.plan = checked_formula_plan<F>;
    op.backward = formula_backward<F>;
    op.recompute = Recompute::cheap;
    op.cases = formula_cases<F>;
  } else if (!op.plan) {
    op.plan = formula_plan<F>;
  }
  op.gradient = op.backward ? Gradient::differentiable : Gradient::none;
  return op;
}

template <WithDerivative F, class List>
OpDef gradient_op(const FormulaSet<List>& set) {
  const int i = place_of<F>(set);
  return {.name = gradient_name<F>(),
          .plan = gradient_plan<F>,
          .kernels = {{set.level[0]()[i].gradient, set.level[1]()[i].gradient, set.level[2]()[i].gradient},
                      RECKON_ISA::gradient_kernel<double, F>,
                      RECKON_ISA::gradient_kernel<Counted, F>},
          .layouts = {.any = ~0u},
          .gradient = Gradient::none,
          .gradient_note = "second derivatives are not offered",
          .cases = gradient_cases<F>};
}

// Each formula's op and its backward op.
template <WithDerivative... F>
std::vector<const OpDef*> ops_of(const FormulaSet<Formulas<F...>>& set) {
  static const std::array<std::array<OpDef, 2>, sizeof...(F)> ops{
      {{formula_op<F>(set), gradient_op<F>(set)}...}};
  std::vector<const OpDef*> list;
  for (const auto& [op, backward_op] : ops) {
    list.push_back(&op);
    list.push_back(&backward_op);
  }
  return list;
}

}  // namespace
}  // namespace reckon::ops
