// The emulated GPU's convolutions: the CPU's plain loops in f64.
#include "ops/kernel/plan/device_convolution.h"

#include <vector>

#include "ops/conv2d/conv2d_attrs.h"
#include "ops/conv2d/plain.h"
#include "runtime/core/element.h"
#include "runtime/core/error.h"

namespace reckon::ops::gpu {
namespace {

std::vector<double> widened(const void* p, DType t, int64_t n) {
  std::vector<double> v(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) v[static_cast<size_t>(i)] = load_element(p, t, i);
  return v;
}

void rounded(const std::vector<double>& v, void* p, DType t) {
  for (size_t i = 0; i < v.size(); ++i) store_element(p, t, static_cast<int64_t>(i), v[i]);
}

TensorArg argument(std::vector<double>& v, int64_t a, int64_t b, int64_t c, int64_t d) {
  return {reinterpret_cast<std::byte*>(v.data()), DType::f64, 4, {a, b, c, d}, {b * c * d, c * d, d, 1}};
}

}  // namespace

void library_convolution(const KernelArgs& args, int launch_index, const Convolution& c, void* workspace,
                         size_t workspace_bytes) {
  args.launch(launch_index);
  RECKON_CHECK(workspace && workspace_bytes > 0, "a library convolution needs its workspace");
  const bool writes_x = c.pass == ConvolutionPass::input_gradient,
             writes_weight = c.pass == ConvolutionPass::weight_gradient;
  const auto read = [&](void* p, int64_t n, bool written) {
    return written ? std::vector<double>(static_cast<size_t>(n)) : widened(p, c.dtype, n);
  };
  std::vector<double> x = read(c.x, c.x_size(), writes_x), w = read(c.weight, c.weight_size(), writes_weight),
                      y = read(c.y, c.y_size(), !writes_x && !writes_weight);
  const TensorArg xs = argument(x, c.n, c.c, c.h, c.w), ws = argument(w, c.o, c.c / c.groups, c.kh, c.kw),
                  ys = argument(y, c.n, c.o, c.ho, c.wo);
  ConvAttrs attrs;
  for (int i = 0; i < 2; ++i) {
    attrs.stride[i] = c.stride[i];
    attrs.padding[i] = c.padding[i];
    attrs.dilation[i] = c.dilation[i];
  }
  attrs.groups = c.groups;
  const TensorArg in[3] = {writes_x || writes_weight ? ys : xs, writes_weight ? xs : ws, {}};
  const TensorArg out = writes_x ? xs : (writes_weight ? ws : ys);
  KernelArgs plain{
      .in = in, .n_in = 3, .out = &out, .n_out = 1, .attrs = &attrs, .note_launch = [](void*, int) {}};
  if (writes_x)
    plain_conv2d_input_gradient(plain);
  else if (writes_weight)
    plain_conv2d_weight_gradient(plain);
  else
    plain_conv2d(plain);
  if (writes_x)
    rounded(x, c.x, c.dtype);
  else if (writes_weight)
    rounded(w, c.weight, c.dtype);
  else
    rounded(y, c.y, c.dtype);
}

}  // namespace reckon::ops::gpu
