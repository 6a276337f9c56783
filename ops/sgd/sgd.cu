// One pass over a parameter, its gradient and, with momentum, its buffer.
#include "ops/kernel/gpu/elementwise.cuh"
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/sgd/sgd_attrs.h"

namespace reckon::ops::gpu {
namespace {

struct Plain {
  Elements grad_scale, skip;  // or none
  float decay, momentum, take, minus_rate;
  bool decays;
  float scale = 1.0f;

  __device__ __forceinline__ bool start() {
    if (is_set(skip)) return false;
    if (grad_scale) scale = load(grad_scale, 0);
    return true;
  }
  __device__ __forceinline__ float whole_gradient(float p, float g) const {
    return decays ? g * scale + decay * p : g * scale;
  }
  __device__ __forceinline__ float operator()(float p, float g) const {
    return p + minus_rate * whole_gradient(p, g);
  }
};

// The first step reads nothing of the buffer that it writes.
template <bool kFirst, bool kNesterov>
struct WithMomentum : Plain {
  __device__ __forceinline__ void operator()(float p, float g, float b, float* p_out, float* b_out) const {
    g = whole_gradient(p, g);
    *b_out = kFirst ? g : momentum * b + take * g;
    *p_out = p + minus_rate * (kNesterov ? g + momentum * *b_out : *b_out);
  }
};

void sgd_gpu(KernelArgs& a) {
  const SgdSettings& s = a.as<SgdAttrs>().s;
  const Plain f{elements(a.in[sgd_in::grad_scale]),
                elements(a.in[sgd_in::skip]),
                static_cast<float>(s.weight_decay),
                static_cast<float>(s.momentum),
                static_cast<float>(1 - s.dampening),
                static_cast<float>(-s.lr),
                s.weight_decay != 0};
  if (s.momentum == 0)
    elementwise<2, 1>(a, f);
  else if (s.step == 1 && s.nesterov)
    elementwise<3, 2>(a, WithMomentum<true, true>{f});
  else if (s.step == 1)
    elementwise<3, 2>(a, WithMomentum<true, false>{f});
  else if (s.nesterov)
    elementwise<3, 2>(a, WithMomentum<false, true>{f});
  else
    elementwise<3, 2>(a, WithMomentum<false, false>{f});
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(sgd) { return {{"sgd", sgd_gpu}}; }
