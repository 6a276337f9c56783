// gate sigmoid(gate) up; with s = sigmoid(gate): dup = g gate s, dgate = g up s (1 + gate (1 - s)).
#include "ops/kernel/gpu/elementwise.cuh"
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/logistic.cuh"

namespace reckon::ops::gpu {
namespace {

struct Swiglu {
  __device__ __forceinline__ float operator()(float gate, float up) const { return gate * logistic(gate) * up; }
};
struct SwigluBackward {
  __device__ __forceinline__ void operator()(float g, float gate, float up, float* dgate, float* dup) const {
    const float s = logistic(gate), gs = g * s;
    *dup = gs * gate;
    *dgate = gs * up * (1.0f + gate * (1.0f - s));
  }
};

void swiglu_gpu(KernelArgs& a) { elementwise<2, 1>(a, Swiglu{}); }
void swiglu_backward_gpu(KernelArgs& a) { elementwise<3, 2>(a, SwigluBackward{}); }

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(swiglu) { return {{"swiglu", swiglu_gpu}, {"swiglu_backward", swiglu_backward_gpu}}; }
