// One pass over a parameter, its gradient and, with momentum, its buffer.
#include "ops/kernel/elementwise.cuh"
#include "ops/kernel/gpu_kernels.h"
#include "ops/sgd/sgd_attrs.h"

namespace reckon::ops::gpu {
namespace {

struct Sgd {
  Elements grad_scale, skip;  // or none
  float decay, momentum, take, minus_rate;
  bool decays, first_step, nesterov;

  __device__ __forceinline__ bool skips() const { return is_set(skip); }
  __device__ __forceinline__ float whole_gradient(float p, float g) const {
    if (grad_scale) g *= load(grad_scale, 0);
    return decays ? g + decay * p : g;
  }
  __device__ __forceinline__ float operator()(float p, float g) const { return p + minus_rate * whole_gradient(p, g); }
  __device__ __forceinline__ void operator()(float p, float g, float b, float* p_out, float* b_out) const {
    g = whole_gradient(p, g);
    *b_out = first_step ? g : momentum * b + take * g;
    *p_out = p + minus_rate * (nesterov ? g + momentum * *b_out : *b_out);
  }
};

void sgd_gpu(KernelArgs& a) {
  const SgdSettings& s = a.as<SgdAttrs>().s;
  const Sgd f{elements(a.in[3]),
              elements(a.in[4]),
              static_cast<float>(s.weight_decay),
              static_cast<float>(s.momentum),
              static_cast<float>(1 - s.dampening),
              static_cast<float>(-s.lr),
              s.weight_decay != 0,
              s.step == 1,
              s.nesterov};
  if (s.momentum != 0) elementwise<3, 2>(a, f);
  else elementwise<2, 1>(a, f);
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(sgd) { return {{"sgd", sgd_gpu}}; }
