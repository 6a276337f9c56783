#include "ops/conv2d/plain.h"

#include "ops/conv2d/geometry.h"
#include "ops/kernel/cpu/scalar.h"

namespace reckon::ops {
namespace {

ConvGeometry geometry(const TensorArg& x, const TensorArg& w, const Attrs* attrs) {
  return conv_geometry(Shape{x.shape[0], x.shape[1], x.shape[2], x.shape[3]},
                       Shape{w.shape[0], w.shape[1], w.shape[2], w.shape[3]},
                       *static_cast<const ConvAttrs*>(attrs));
}

// Where tap `k` of output position `p` reads in the planes of `group`; -1 outside the image.
int64_t source(const ConvGeometry& g, int64_t n, int64_t group, int64_t k, int64_t p) {
  const int64_t c = k / (g.kh * g.kw), r = k / g.kw % g.kh, s = k % g.kw;
  const int64_t h = p / g.wo * g.attrs.stride[0] - g.attrs.padding[0] + r * g.attrs.dilation[0];
  const int64_t w = p % g.wo * g.attrs.stride[1] - g.attrs.padding[1] + s * g.attrs.dilation[1];
  if (h < 0 || h >= g.h || w < 0 || w >= g.w) return -1;
  return ((n * g.c + group * g.cg + c) * g.h + h) * g.w + w;
}

}  // namespace

void plain_conv2d(KernelArgs& a) {
  a.launch(0);
  using In = ConvInput;
  const TensorArg& bias = a.in[In::bias];
  const ConvGeometry g = geometry(a.in[In::x], a.in[In::weight], a.attrs);
  const Counted *x = a.in[In::x].as<Counted>(), *w = a.in[In::weight].as<Counted>();
  for (int64_t n = 0; n < g.n; ++n)
    for (int64_t o = 0; o < g.o; ++o)
      for (int64_t p = 0; p < g.p; ++p) {
        Counted sum(0);
        for (int64_t k = 0; k < g.k; ++k) {
          const int64_t from = source(g, n, o / g.og, k, p);
          sum += w[o * g.k + k] * (from < 0 ? Counted(0) : x[from]);
        }
        if (bias.defined()) sum += bias.as<Counted>()[o];
        a.out[0].as<Counted>()[(n * g.o + o) * g.p + p] = sum;
      }
}

void plain_conv2d_input_gradient(KernelArgs& a) {
  a.launch(0);
  using In = ConvInputGradientInput;
  const ConvGeometry g = geometry(a.out[0], a.in[In::weight], a.attrs);
  const Counted *dy = a.in[In::dout].as<Counted>(), *w = a.in[In::weight].as<Counted>();
  Counted* dx = a.out[0].as<Counted>();
  for (int64_t i = 0; i < a.out[0].numel(); ++i) dx[i] = Counted(0);
  for (int64_t n = 0; n < g.n; ++n)
    for (int64_t group = 0; group < g.groups; ++group)
      for (int64_t k = 0; k < g.k; ++k)
        for (int64_t p = 0; p < g.p; ++p) {
          Counted sum(0);
          for (int64_t o = group * g.og; o < (group + 1) * g.og; ++o)
            sum += w[o * g.k + k] * dy[(n * g.o + o) * g.p + p];
          const int64_t to = source(g, n, group, k, p);
          if (to < 0) continue;
          if (g.pointwise)
            dx[to] = sum;
          else
            dx[to] += sum;
        }
}

void plain_conv2d_weight_gradient(KernelArgs& a) {
  a.launch(0);
  using In = ConvWeightGradientInput;
  const ConvGeometry g = geometry(a.in[In::x], a.out[0], a.attrs);
  const Counted *dy = a.in[In::dout].as<Counted>(), *x = a.in[In::x].as<Counted>();
  for (int64_t o = 0; o < g.o; ++o)
    for (int64_t k = 0; k < g.k; ++k) {
      Counted sum(0);
      for (int64_t n = 0; n < g.n; ++n)
        for (int64_t p = 0; p < g.p; ++p) {
          const int64_t from = source(g, n, o / g.og, k, p);
          sum += dy[(n * g.o + o) * g.p + p] * (from < 0 ? Counted(0) : x[from]);
        }
      a.out[0].as<Counted>()[o * g.k + k] = sum;
    }
}

}  // namespace reckon::ops
