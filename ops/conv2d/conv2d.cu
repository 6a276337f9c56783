// The library's convolution over dense operands of one type; the bias is added by a
// kernel of its own, in any type.
#include "ops/conv2d/conv2d_steps.h"
#include "ops/kernel/gpu/elements.cuh"
#include "ops/kernel/gpu/empty_product.cuh"
#include "ops/kernel/gpu/gpu_kernels.h"
#include "ops/kernel/gpu/launch.cuh"
#include "ops/kernel/plan/device_convolution.h"
#include "ops/kernel/plan/pack.h"

namespace reckon::ops::gpu {
namespace {

constexpr int kThreads = 256;

// y [.., channels, plane] += bias [channels]; `width` neighbours of one plane per thread.
template <int kWidth>
__global__ void __launch_bounds__(kThreads)
    add_channel_bias(Elements y, Elements bias, int64_t total, int64_t plane, int64_t channels) {
  const int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kWidth;
  if (i >= total) return;
  const float b = load(bias, i / plane % channels);
  if constexpr (kWidth == 4) {
    float v[4];
    load4(y, i, v);
#pragma unroll
    for (int k = 0; k < 4; ++k) v[k] += b;
    store4(y, i, v);
  } else {
    store(y, i, load(y, i) + b);
  }
}

Convolution described(const TensorArg& x, const TensorArg& weight, const TensorArg& y, const ConvAttrs& a) {
  Convolution c{.n = x.shape[0],
                .c = x.shape[1],
                .h = x.shape[2],
                .w = x.shape[3],
                .o = weight.shape[0],
                .kh = weight.shape[2],
                .kw = weight.shape[3],
                .ho = y.shape[2],
                .wo = y.shape[3],
                .groups = a.groups,
                .x = x.data,
                .weight = weight.data,
                .y = y.data};
  for (int i = 0; i < 2; ++i) {
    c.stride[i] = a.stride[i];
    c.padding[i] = a.padding[i];
    c.dilation[i] = a.dilation[i];
  }
  return c;
}

using Member = void* Convolution::*;

// Converts what is not of the common type and makes the library's launch; returns the one that follows.
// `operand` names the places in `c` of the op's two inputs.
int run(const KernelArgs& args, const ConvSteps& steps, Convolution c, Member first, Member second) {
  int launch_index = 0, workspace = 1;
  const Member operand[2] = {first, second};
  for (int i = 0; i < 2; ++i) {
    if (!steps.converts(i)) continue;
    void* copy = args.workspace[workspace++];
    PackAxes axes;
    axes.add(steps.operands[i].elements, 1);
    pack(args, launch_index++, c.*operand[i], steps.operands[i].dtype, copy, steps.type(), axes);
    c.*operand[i] = copy;
  }
  c.dtype = steps.type();
  library_convolution(args, launch_index++, c, args.workspace[0], args.library_workspace_bytes);
  return launch_index;
}

ConvSteps steps_of(const TensorArg& a, const TensorArg& b, bool bias) {
  return {{{a.dtype, a.numel()}, {b.dtype, b.numel()}}, bias};
}

void conv2d_gpu(KernelArgs& a) {
  using In = ConvInput;
  const TensorArg &x = a.in[In::x], &w = a.in[In::weight], &bias = a.in[In::bias], &y = a.out[0];
  if (x.numel() == 0 || w.numel() == 0) return launch_empty_product(a, y, bias, y.shape[2] * y.shape[3]);
  const ConvSteps steps = steps_of(x, w, bias.defined());
  const int next = run(a, steps, described(x, w, y, a.as<ConvAttrs>()), &Convolution::x, &Convolution::weight);
  if (!steps.adds_bias) return;
  const int64_t plane = y.shape[2] * y.shape[3], total = y.numel();
  if (takes_fours(y, plane))
    launch(a, next, add_channel_bias<4>, blocks_for(total / 4, kThreads), kThreads, 0, elements(y),
           elements(bias), total, plane, y.shape[1]);
  else
    launch(a, next, add_channel_bias<1>, blocks_for(total, kThreads), kThreads, 0, elements(y), elements(bias),
           total, plane, y.shape[1]);
}

void conv2d_input_gradient_gpu(KernelArgs& a) {
  using In = ConvInputGradientInput;
  const TensorArg &dy = a.in[In::dout], &w = a.in[In::weight], &dx = a.out[0];
  if (dy.numel() == 0 || w.numel() == 0) return launch_empty_product(a, dx, {}, 1);
  Convolution c = described(dx, w, dy, a.as<ConvAttrs>());
  c.pass = ConvolutionPass::input_gradient;
  run(a, steps_of(dy, w, false), c, &Convolution::y, &Convolution::weight);
}

void conv2d_weight_gradient_gpu(KernelArgs& a) {
  using In = ConvWeightGradientInput;
  const TensorArg &dy = a.in[In::dout], &x = a.in[In::x], &dw = a.out[0];
  if (dy.numel() == 0 || x.numel() == 0) return launch_empty_product(a, dw, {}, 1);
  Convolution c = described(x, dw, dy, a.as<ConvAttrs>());
  c.pass = ConvolutionPass::weight_gradient;
  run(a, steps_of(dy, x, false), c, &Convolution::y, &Convolution::x);
}

}  // namespace
}  // namespace reckon::ops::gpu

RECKON_GPU_KERNELS(conv2d) {
  return {{"conv2d", conv2d_gpu},
          {"conv2d_input_gradient", conv2d_input_gradient_gpu},
          {"conv2d_weight_gradient", conv2d_weight_gradient_gpu}};
}
