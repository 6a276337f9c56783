// Two-dimensional convolution as deep learning means it (no filter is turned around):
//   y[n, o, i, j] = bias[o] + sum over c, r, s of weight[o, c, r, s] x[n, c', h, w],
// h = i stride - padding + r dilation, w likewise, c' the c-th channel of o's group, x zero outside the image.
// The gradients are sums over the same products.
#include "ops/conv2d/conv2d_attrs.h"
#include "ops/reference.h"

namespace reckon::ops {
namespace {

// body(place in x, place in weight, place in y) for every product of a convolution of these extents.
void for_each_product(const Shape& x, const Shape& weight, const Shape& y, const ConvAttrs& a, auto body) {
  for (int64_t n = 0; n < y[0]; ++n)
    for (int64_t o = 0; o < y[1]; ++o)
      for (int64_t i = 0; i < y[2]; ++i)
        for (int64_t j = 0; j < y[3]; ++j)
          for (int64_t c = 0; c < weight[1]; ++c)
            for (int64_t r = 0; r < weight[2]; ++r)
              for (int64_t s = 0; s < weight[3]; ++s) {
                const int64_t channel = o / (y[1] / a.groups) * weight[1] + c;
                const int64_t h = i * a.stride[0] - a.padding[0] + r * a.dilation[0],
                              w = j * a.stride[1] - a.padding[1] + s * a.dilation[1];
                if (h < 0 || h >= x[2] || w < 0 || w >= x[3]) continue;
                body(Dims{n, channel, h, w}, Dims{o, c, r, s}, Dims{n, o, i, j});
              }
}

HostTensors conv2d(const ReferenceCall& c) {
  using In = ConvInput;
  const auto& a = c.as<ConvAttrs>();
  const HostTensor &x = c.in[In::x], &weight = c.in[In::weight], &bias = c.in[In::bias];
  const auto extent = [&](int i) {
    return (x.size(2 + i) + 2 * a.padding[i] - a.dilation[i] * (weight.size(2 + i) - 1) - 1) / a.stride[i] + 1;
  };
  HostTensor y({x.size(0), weight.size(0), extent(0), extent(1)});
  for (int64_t n = 0; bias.defined && n < y.size(0); ++n)
    for (int64_t o = 0; o < y.size(1); ++o) y.matrix(n * y.size(1) + o).array() = bias.values[o];
  for_each_product(x.shape, weight.shape, y.shape, a,
                   [&](const Dims& at_x, const Dims& at_w, const Dims& at_y) {
                     y.at(at_y) += x.at(at_x) * weight.at(at_w);
                   });
  return {y};
}

HostTensors input_gradient(const ReferenceCall& c) {
  using In = ConvInputGradientInput;
  const auto& a = c.as<ConvAttrs>();
  const HostTensor &dy = c.in[In::dout], &weight = c.in[In::weight];
  HostTensor dx({dy.size(0), weight.size(1) * a.groups, a.image[0], a.image[1]});
  for_each_product(dx.shape, weight.shape, dy.shape, a,
                   [&](const Dims& at_x, const Dims& at_w, const Dims& at_y) {
                     dx.at(at_x) += dy.at(at_y) * weight.at(at_w);
                   });
  return {dx};
}

HostTensors weight_gradient(const ReferenceCall& c) {
  using In = ConvWeightGradientInput;
  const auto& a = c.as<ConvAttrs>();
  const HostTensor &dy = c.in[In::dout], &x = c.in[In::x];
  HostTensor dweight({dy.size(1), x.size(1) / a.groups, a.kernel[0], a.kernel[1]});
  for_each_product(x.shape, dweight.shape, dy.shape, a,
                   [&](const Dims& at_x, const Dims& at_w, const Dims& at_y) {
                     dweight.at(at_w) += dy.at(at_y) * x.at(at_x);
                   });
  return {dweight};
}

}  // namespace

std::vector<OpReference> conv2d_references() {
  const std::vector<const char*> golden = {"ops/conv2d_3x3_pad.safetensors", "ops/conv2d_stride2.safetensors",
                                           "ops/conv2d_groups_dil.safetensors"};
  return {{.op = "conv2d", .compute = conv2d, .values = {}, .golden = golden},
          {.op = "conv2d_input_gradient", .compute = input_gradient, .values = {}, .golden = golden},
          {.op = "conv2d_weight_gradient", .compute = weight_gradient, .values = {}, .golden = golden}};
}

}  // namespace reckon::ops
