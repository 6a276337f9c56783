// The CPU's kernels of formulas. ops/CMakeLists.txt compiles them for each instruction set,
// elementwise/formula_ops.h for f64 and the counting scalar.
#pragma once

#include "ops/elementwise/formula.h"
#include "ops/kernel/cpu/elementwise.h"

namespace reckon::ops::RECKON_ISA {
namespace {

// For parallel_ranges, in its unit of one addition: loads and stores are most of a small formula, and a special
// function costs about ten.
constexpr int64_t kLoadsAndStores = 4, kSpecial = 10;
constexpr int64_t work_of(PerElement cost) {
  const int64_t work = cost.flops + kSpecial * cost.special;
  return work < kLoadsAndStores ? kLoadsAndStores : work;
}

template <class C, class F>
inline void formula_kernel(KernelArgs& a) {
  F::Constants::template read<C>(a, [&](auto... constant) {
    if constexpr (F::n_inputs == 1)
      map_unary<C>(
          a, [=](C x) __attribute__((always_inline)) { return F::f(x, constant...); }, work_of(F::cost));
    else
      map_binary<C>(
          a, [=](C x, C y) __attribute__((always_inline)) { return F::f(x, y, constant...); },
          work_of(F::cost));
  });
}

// in: the output's gradient and what was kept; out: a gradient per input.
template <class C, class F>
inline void gradient_kernel(KernelArgs& a) {
  if constexpr (F::n_inputs == 1) {
    map_binary<C>(
        a, [](C g, C kept) __attribute__((always_inline)) { return F::df(g, kept); },
        work_of(F::gradient_cost));
  } else {
    a.launch(0);
    elementwise<C, 3, 2>(
        a,
        [](int64_t, const C* const* in, C* const* out, int64_t n) {
          const C *g = in[0], *x = in[1], *y = in[2];
          C *dx = out[0], *dy = out[1];
#pragma omp simd
          for (int64_t i = 0; i < n; ++i) {
            const Gradients<C> d = F::df(g[i], x[i], y[i]);
            dx[i] = d.first;
            dy[i] = d.second;
          }
        },
        work_of(F::gradient_cost));
  }
}

template <class C, class F>
constexpr FormulaKernels kernels_of() {
  if constexpr (WithDerivative<F>)
    return {formula_kernel<C, F>, gradient_kernel<C, F>};
  else
    return {formula_kernel<C, F>, nullptr};
}

template <class List>
struct KernelTable;
template <class... F>
struct KernelTable<Formulas<F...>> {
  static constexpr FormulaKernels entries[] = {kernels_of<float, F>()...};
};

}  // namespace
}  // namespace reckon::ops::RECKON_ISA

// What the .cpp made for each instruction set says: the table of a folder's kernels.
#define RECKON_FORMULA_ENTRIES(folder)                                                                 \
  namespace reckon::ops::RECKON_ISA {                                                                  \
  const FormulaKernels* folder##_formula_kernels() { return KernelTable<folder##_formulas>::entries; } \
  }
