// Convolutions of GPU kernels: one library call, one planned launch of kind library. On a GPU cuDNN with a
// workspace that belongs to the plan (gpu/library/device_convolution.cu); in the emulator the plain loops of
// the CPU (simt/device_convolution.cpp). Sums in f32, TF32 never used, results deterministic.
#pragma once

#include "ops/kernel/kernel_args.h"

namespace reckon::ops::gpu {

enum class ConvolutionPass : uint8_t { forward, input_gradient, weight_gradient };

// Dense tensors of one type, f32, bf16 or f16: x [n, c, h, w], weight [o, c / groups, kh, kw], y [n, o, ho,
// wo]. The pass says which of them is written: y, x or weight.
struct Convolution {
  ConvolutionPass pass = ConvolutionPass::forward;
  DType dtype = DType::f32;
  int64_t n = 0, c = 0, h = 0, w = 0, o = 0, kh = 0, kw = 0, ho = 0, wo = 0, groups = 1;
  int64_t stride[2] = {1, 1}, padding[2] = {0, 0}, dilation[2] = {1, 1};
  void *x = nullptr, *weight = nullptr, *y = nullptr;

  int64_t x_size() const { return n * c * h * w; }
  int64_t weight_size() const { return o * (c / groups) * kh * kw; }
  int64_t y_size() const { return n * o * ho * wo; }
};

// `workspace_bytes` is DeviceSpec::library_workspace_bytes, a workspace of the plan.
void library_convolution(const KernelArgs& args, int launch_index, const Convolution& convolution,
                         void* workspace, size_t workspace_bytes);

}  // namespace reckon::ops::gpu
