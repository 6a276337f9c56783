// The update in small steps, one op each, as a plain framework runs it.
#include "ops/adamw/adamw_attrs.h"
#include "ops/adamw/update.cuh"
#include "ops/kernel/gpu/elementwise.cuh"
#include "ops/kernel/gpu/gpu_kernels.h"

namespace reckon::ops::gpu {

void adamw_all_gpu(KernelArgs& a);  // adamw_all.cu

namespace {

struct Step {
  float factor;
  Elements skip;  // or none

  Step(const KernelArgs& a, int skip_input)
      : factor(static_cast<float>(a.as<StepAttrs>().factor)), skip(elements(a.in[skip_input])) {}
  __device__ __forceinline__ bool start() const { return !is_set(skip); }
};

struct ScaleInPlace : Step {
  using Step::Step;
  __device__ __forceinline__ float operator()(float x) const { return __fmul_rn(x, factor); }
};
struct Lerp : Step {
  using Step::Step;
  __device__ __forceinline__ float operator()(float x, float z) const { return lerp_to(x, z, factor); }
};
struct LerpSquare : Step {
  using Step::Step;
  __device__ __forceinline__ float operator()(float x, float z) const { return lerp_to_square(x, z, factor); }
};
struct AddQuotient : Step {
  Elements factors;  // or none

  explicit AddQuotient(const KernelArgs& a)
      : Step(a, add_quotient_in::skip), factors(elements(a.in[add_quotient_in::factors])) {}
  __device__ __forceinline__ bool start() {
    if (factors) factor = load(factors, 1);
    return Step::start();
  }
  __device__ __forceinline__ float operator()(float p, float m, float d) const {
    return quotient_sum(p, m, d, factor);
  }
};
struct ScaledSum {
  float factor;
  __device__ __forceinline__ float operator()(float x, float z) const { return scaled_sum(x, z, factor); }
};
struct Denominator {
  float factor, eps;
  Elements factors;  // or none
  __device__ __forceinline__ bool start() {
    if (factors) factor = load(factors, 0);
    return true;
  }
  __device__ __forceinline__ float operator()(float v) const { return root_term(v, factor, eps); }
};

void scale_in_place_gpu(KernelArgs& a) { elementwise<1, 1>(a, ScaleInPlace(a, scale_in_place_in::skip)); }
void lerp_gpu(KernelArgs& a) { elementwise<2, 1>(a, Lerp(a, lerp_in::skip)); }
void lerp_square_gpu(KernelArgs& a) { elementwise<2, 1>(a, LerpSquare(a, lerp_in::skip)); }
void add_quotient_gpu(KernelArgs& a) { elementwise<3, 1>(a, AddQuotient(a)); }
void scaled_sum_gpu(KernelArgs& a) {
  elementwise<2, 1>(a, ScaledSum{static_cast<float>(a.as<StepAttrs>().factor)});
}
void denominator_gpu(KernelArgs& a) {
  const auto& t = a.as<StepAttrs>();
  elementwise<1, 1>(a, Denominator{static_cast<float>(t.factor), static_cast<float>(t.shift),
                                   elements(a.in[denominator_in::factors])});
}

__global__ void adam_factors(Elements updates, Elements skip, AdamWCorrection correction, Elements to) {
  const float made = load(updates, 0) + 1;
  const AdamWFactors f = correction.at(made);
  store(to, 0, static_cast<float>(f.root));
  store(to, 1, static_cast<float>(f.minus_step));
  if (!is_set(skip)) store(updates, 0, made);
}

void adam_factors_gpu(KernelArgs& a) {
  launch(a, 0, adam_factors, 1, 1, 0, elements(a.in[adam_factors_in::updates]),
         elements(a.in[adam_factors_in::skip]), a.as<AdamFactorsAttrs>().correction, elements(a.out[1]));
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(adamw) {
  return {{"scale_in_place", scale_in_place_gpu},      {"lerp_in_place", lerp_gpu},
          {"lerp_square_in_place", lerp_square_gpu},   {"scaled_sum", scaled_sum_gpu},
          {"adam_factors", adam_factors_gpu},          {"adam_denominator", denominator_gpu},
          {"add_quotient_in_place", add_quotient_gpu}, {"adamw_all", adamw_all_gpu}};
}
