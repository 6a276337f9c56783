// What the formula file of an elementwise op, ops/<op>/<op>.h, is written with. A formula is a template over
// the scalar and stands once: it is compiled for each instruction set of the CPU, for f64 and the scalar that
// counts, and for the GPU. Each has its own k_exp, k_sigmoid, ... (ops/kernel/cpu/scalar.h,
// ops/kernel/gpu/scalar.cuh).
#pragma once

#include <string>

#include "ops/kernel/kernel_args.h"

// Opens a formula, f or df, a template over the scalar C: RECKON_FORMULA C f(C x) { return x * k_sigmoid(x); }
#if defined(RECKON_GPU_FORMULAS)  // the GPU's kernels
#include "ops/kernel/gpu/scalar.cuh"
#define RECKON_FORMULA \
  template <class C>   \
  static __device__ __forceinline__
#else
#ifndef RECKON_ISA
#define RECKON_ISA isa_reference
#endif
#include "ops/kernel/cpu/scalar.h"
#define RECKON_FORMULA \
  template <class C>   \
  static RECKON_INLINE
#ifndef RECKON_KERNEL_ENTRIES  // the op itself, and who calls it
#include "ops/op.h"
#endif
#endif

namespace reckon {
class Tensor;
}

namespace reckon::ops {

struct PerElement {
  int64_t flops = 0, special = 0;  // special: exp, log, sqrt, tanh, erf, sin, cos
};

enum class Keeps : uint8_t { input, output };   // what the derivative of an op with one input reads
enum class Domain : uint8_t { all, positive };  // where the cases take their inputs from

// Fields of an op's attributes, all of type double. The formula gets them behind its inputs, in this order.
template <auto... Fields>
struct Attributes {
  static constexpr int count = sizeof...(Fields);
  // use(value...), each as a C
  template <class C, class Use>
  static void read(const KernelArgs& a, Use use) {
    use(C(field(Fields, a))...);
  }

 private:
  template <class A>
  static double field(double A::*f, const KernelArgs& a) {
    return a.as<A>().*f;
  }
};

// What a formula inherits: how many inputs, what errors call them, and what it may leave unsaid.
struct OfOne {
  static constexpr int n_inputs = 1;
  static constexpr const char* inputs[] = {"input"};
  static constexpr Keeps keeps = Keeps::input;
  static constexpr Domain domain = Domain::all;
  using Constants = Attributes<>;
};
struct OfTwo {
  static constexpr int n_inputs = 2;
  using Constants = Attributes<>;
};

// What the derivative of a formula of two inputs gives.
template <class C>
struct Gradients {
  C first, second;
};

// Whether a formula has its derivative `df` with it, and so a backward op of its own.
template <class F>
concept WithDerivative = requires {
  F::gradient_cost;
};

// The name of that op; lives as long as the program.
template <WithDerivative F>
const char* gradient_name() {
  static const std::string name = F::name + std::string("_backward");
  return name.c_str();
}

// The formulas of one file, in the order in which their ops are registered.
template <class... F>
struct Formulas {};

// The entry points of one formula in one build; `gradient` is null without a derivative.
struct FormulaKernels {
  KernelFn formula, gradient;
};

}  // namespace reckon::ops

// The public function of an op without attributes, for who calls it.
#if defined(RECKON_GPU_FORMULAS) || defined(RECKON_KERNEL_ENTRIES)
#define RECKON_FUNCTION(name, inputs, ...)
#else
#define RECKON_FUNCTION(name, inputs, ...)      \
  inline Tensor name inputs {                   \
    static const OpDef& op = op_by_name(#name); \
    return call(op, {__VA_ARGS__})[0];          \
  }
#endif
