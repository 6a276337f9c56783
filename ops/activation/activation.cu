// Elementwise functions of one tensor and their derivatives: f(x), and df(g, s) with
// what the forward pass kept in s.
#include "ops/activation/activation_list.h"
#include "ops/kernel/gpu/angle.cuh"
#include "ops/kernel/gpu/elementwise.cuh"
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/logistic.cuh"

namespace reckon::ops::gpu {
namespace {

constexpr float kRootHalf = 0.70710678118654752f, kRootTwoOverPi = 0.79788456080286536f,
                kDensity = 0.39894228040143268f;

struct relu_formula {  // NaN gives 0, as a > b ? a : b does
  static __device__ float f(float x) { return x > 0.0f ? x : 0.0f; }
  static __device__ float df(float g, float y) { return y > 0.0f ? g : 0.0f; }
};
struct sigmoid_formula {
  static __device__ float f(float x) { return logistic(x); }
  static __device__ float df(float g, float y) { return g * (y * (1.0f - y)); }
};
struct tanh_formula {
  static __device__ float f(float x) { return tanhf(x); }
  static __device__ float df(float g, float y) { return g * (1.0f - y * y); }
};
struct exp_formula {
  static __device__ float f(float x) { return expf(x); }
  static __device__ float df(float g, float y) { return g * y; }
};
struct log_formula {
  static __device__ float f(float x) { return logf(x); }
  static __device__ float df(float g, float x) { return g / x; }
};
struct sqrt_formula {
  static __device__ float f(float x) { return sqrtf(x); }
  static __device__ float df(float g, float y) { return 0.5f * g / y; }
};
struct silu_formula {
  static __device__ float f(float x) { return x * logistic(x); }
  static __device__ float df(float g, float x) {
    const float s = logistic(x);
    return g * (s * (1.0f + x * (1.0f - s)));
  }
};
struct gelu_formula {
  static __device__ float f(float x) { return 0.5f * x * (1.0f + erff(x * kRootHalf)); }
  static __device__ float df(float g, float x) {
    const float cdf = 0.5f * (1.0f + erff(x * kRootHalf)), pdf = kDensity * expf(-(0.5f * x * x));
    return g * (cdf + x * pdf);
  }
};
struct gelu_tanh_formula {
  static __device__ float inner(float x) { return kRootTwoOverPi * (x + 0.044715f * x * x * x); }
  static __device__ float f(float x) { return 0.5f * x * (1.0f + tanhf(inner(x))); }
  static __device__ float df(float g, float x) {
    const float t = tanhf(inner(x)), slope = kRootTwoOverPi * (1.0f + 0.134145f * x * x);
    return g * (0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * slope);
  }
};
struct abs_formula {
  static __device__ float f(float x) { return x > -x ? x : -x; }
  static __device__ float df(float g, float x) { return x > 0.0f ? g : -g; }
};
struct cos_formula {
  static __device__ float f(float x) {
    float sine, cosine;
    sine_cosine(x, &sine, &cosine);
    return cosine;
  }
  static __device__ float df(float g, float x) {
    float sine, cosine;
    sine_cosine(x, &sine, &cosine);
    return -(g * sine);
  }
};

template <class Formula>
struct Forward {
  __device__ __forceinline__ float operator()(float x) const { return Formula::f(x); }
};
template <class Formula>
struct Backward {
  __device__ __forceinline__ float operator()(float g, float s) const { return Formula::df(g, s); }
};

template <class Formula>
void forward_gpu(KernelArgs& a) {
  elementwise<1, 1>(a, Forward<Formula>{});
}
template <class Formula>
void backward_gpu(KernelArgs& a) {
  elementwise<2, 1>(a, Backward<Formula>{});
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(activation) {
#define RECKON_NAMED(name, ...) \
  {#name, forward_gpu<name##_formula>}, {#name "_backward", backward_gpu<name##_formula>},
  return {RECKON_ACTIVATIONS(RECKON_NAMED)};
#undef RECKON_NAMED
}
