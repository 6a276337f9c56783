// The GPU's kernels of formulas, for the .cu that ops/CMakeLists.txt makes of each formula file.
#pragma once

#include "ops/elementwise/formula.h"
#include "ops/kernel/gpu/elementwise.cuh"
#include "ops/kernel/gpu/gpu_kernels.h"

namespace reckon::ops::gpu {

template <class F>
struct Formula {
  static constexpr int kConstants = F::Constants::count;
  float constant[kConstants > 0 ? kConstants : 1];

  template <class... X>
  __device__ __forceinline__ float operator()(X... x) const {
    static_assert(kConstants <= 2);
    if constexpr (kConstants == 0)
      return F::f(x...);
    else if constexpr (kConstants == 1)
      return F::f(x..., constant[0]);
    else
      return F::f(x..., constant[0], constant[1]);
  }
};

template <class F>
struct Gradient {
  __device__ __forceinline__ float operator()(float g, float kept) const { return F::df(g, kept); }
  __device__ __forceinline__ void operator()(float g, float x, float y, float* dx, float* dy) const {
    const Gradients<float> d = F::df(g, x, y);
    *dx = d.first;
    *dy = d.second;
  }
};

template <class F>
void formula_gpu(KernelArgs& a) {
  F::Constants::template read<float>(
      a, [&](auto... constant) { elementwise<F::n_inputs, 1>(a, Formula<F>{{constant...}}); });
}
template <class F>
void gradient_gpu(KernelArgs& a) {
  elementwise<F::n_inputs + 1, F::n_inputs>(a, Gradient<F>{});
}

template <class... F>
std::vector<NamedKernel> formula_kernels(Formulas<F...>) {
  std::vector<NamedKernel> all;
  const auto add = [&]<class One>(One) {
    all.push_back({One::name, formula_gpu<One>});
    if constexpr (WithDerivative<One>) all.push_back({gradient_name<One>(), gradient_gpu<One>});
  };
  (add(F{}), ...);
  return all;
}

}  // namespace reckon::ops::gpu
