// x sigmoid(gate); with s = sigmoid(gate): dx = g s, dgate = g s x (1 - s).
#include "ops/kernel/gpu/elementwise.cuh"
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/logistic.cuh"

namespace reckon::ops::gpu {
namespace {

struct Gated {
  __device__ __forceinline__ float operator()(float x, float gate) const { return x * logistic(gate); }
};
struct GatedBackward {
  __device__ __forceinline__ void operator()(float g, float x, float gate, float* dx, float* dgate) const {
    const float s = logistic(gate), gs = g * s;
    *dx = gs;
    *dgate = gs * x * (1.0f - s);
  }
};

void mul_sigmoid_gpu(KernelArgs& a) { elementwise<2, 1>(a, Gated{}); }
void mul_sigmoid_backward_gpu(KernelArgs& a) { elementwise<3, 2>(a, GatedBackward{}); }

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(mul_sigmoid) {
  return {{"mul_sigmoid", mul_sigmoid_gpu}, {"mul_sigmoid_backward", mul_sigmoid_backward_gpu}};
}
