#include "ops/conv2d/geometry.h"

#include <algorithm>
#include <cstring>

#include "ops/kernel/cpu/scalar.h"

namespace reckon::ops {
namespace {

// A tile of the unfolded input stays within a second-level cache.
constexpr int64_t kTileElements = 1 << 17;
constexpr int64_t kParallelElements = 1 << 14;

int64_t output_extent(int64_t size, int64_t kernel, int axis, const ConvAttrs& a) {
  const int64_t reach = a.dilation[axis] * (kernel - 1) + 1, padded = size + 2 * a.padding[axis];
  RECKON_CHECK(padded >= reach,
               "conv2d's filter reaches over {} positions of axis {}, but the padded image has {}", reach, axis,
               padded);
  return (padded - reach) / a.stride[axis] + 1;
}

// The output columns [begin, end) of row `oh` whose tap `s` lies inside the image.
struct Span {
  int64_t begin, end;
};
Span inside(int64_t outputs, int64_t stride, int64_t start, int64_t size) {
  const int64_t begin = start >= 0 ? 0 : (-start + stride - 1) / stride;
  const int64_t end = start >= size ? 0 : (size - 1 - start) / stride + 1;
  return {std::min(begin, outputs), std::clamp<int64_t>(end, std::min(begin, outputs), outputs)};
}

// Calls f(row of the tap's input or -1, first output column, last, place in the tile)
// for each piece of output rows.
template <class F>
void for_each_output_row(const ConvGeometry& g, int64_t first, int64_t count, int64_t r, F&& f) {
  for (int64_t p = first; p < first + count;) {
    const int64_t oh = p / g.wo, ow = p % g.wo, last = std::min(g.wo, ow + first + count - p);
    const int64_t ih = oh * g.attrs.stride[0] - g.attrs.padding[0] + r * g.attrs.dilation[0];
    f(ih >= 0 && ih < g.h ? ih : -1, ow, last, p - first);
    p += last - ow;
  }
}

template <class S>
void unfold_as(const ConvGeometry& g, const S* image, int64_t first, int64_t count, S* columns, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (g.k * count > kParallelElements)
  for (int64_t row = 0; row < g.k; ++row) {
    const int64_t c = row / (g.kh * g.kw), r = row / g.kw % g.kh, s = row % g.kw;
    const int64_t step = g.attrs.stride[1], start = s * g.attrs.dilation[1] - g.attrs.padding[1];
    const Span valid = inside(g.wo, step, start, g.w);
    S* out = columns + row * count;
    for_each_output_row(g, first, count, r, [&](int64_t ih, int64_t ow, int64_t last, int64_t at) {
      const int64_t begin = ih < 0 ? last : std::clamp(valid.begin, ow, last),
                    end = ih < 0 ? last : std::clamp(valid.end, begin, last);
      S* to = out + at - ow;
      std::memset(to + ow, 0, static_cast<size_t>(begin - ow) * sizeof(S));
      std::memset(to + end, 0, static_cast<size_t>(last - end) * sizeof(S));
      if (begin == end) return;
      const S* from = image + (c * g.h + ih) * g.w;
      if (step == 1)
        std::memcpy(to + begin, from + start + begin, static_cast<size_t>(end - begin) * sizeof(S));
      else
        for (int64_t i = begin; i < end; ++i) to[i] = from[start + i * step];
    });
  }
}

}  // namespace

int64_t ConvGeometry::pairs_inside(int axis) const {
  const int64_t taps = axis == 0 ? kh : kw, outputs = axis == 0 ? ho : wo, size = axis == 0 ? h : w;
  int64_t pairs = 0;
  for (int64_t tap = 0; tap < taps; ++tap) {
    const Span v = inside(outputs, attrs.stride[axis], tap * attrs.dilation[axis] - attrs.padding[axis], size);
    pairs += v.end - v.begin;
  }
  return pairs;
}

ConvGeometry conv_geometry(const Shape& x, const Shape& weight, const ConvAttrs& a) {
  RECKON_CHECK(x.rank() == 4, "conv2d expects an input [N, C, H, W], got {}", to_string(x));
  RECKON_CHECK(weight.rank() == 4, "conv2d expects a weight [O, C / groups, kh, kw], got {}",
               to_string(weight));
  for (int i = 0; i < 2; ++i)
    RECKON_CHECK(a.stride[i] >= 1 && a.dilation[i] >= 1 && a.padding[i] >= 0,
                 "conv2d expects strides and dilations of at least 1 and paddings of at least 0, got {}, {}, "
                 "{} on axis {}",
                 a.stride[i], a.dilation[i], a.padding[i], i);
  RECKON_CHECK(a.groups >= 1 && x[1] % a.groups == 0 && weight[0] % a.groups == 0,
               "conv2d cannot split {} and {} channels into {} groups", x[1], weight[0], a.groups);
  RECKON_CHECK(weight[1] * a.groups == x[1],
               "conv2d of {} channels in {} groups needs a weight [O, {}, kh, kw], got {}", x[1], a.groups,
               x[1] / a.groups, to_string(weight));
  RECKON_CHECK(weight[2] >= 1 && weight[3] >= 1, "conv2d expects filters of at least 1 x 1, got {}",
               to_string(weight));
  ConvGeometry g{};
  g.attrs = a;
  g.n = x[0], g.c = x[1], g.h = x[2], g.w = x[3];
  g.o = weight[0], g.kh = weight[2], g.kw = weight[3];
  g.groups = a.groups, g.cg = weight[1], g.og = g.o / g.groups;
  g.ho = output_extent(g.h, g.kh, 0, a);
  g.wo = output_extent(g.w, g.kw, 1, a);
  g.k = g.cg * g.kh * g.kw;
  g.p = g.ho * g.wo;
  g.pointwise =
      g.kh == 1 && g.kw == 1 && a.stride[0] == 1 && a.stride[1] == 1 && a.padding[0] == 0 && a.padding[1] == 0;
  const int64_t fits = std::max<int64_t>(64, kTileElements / std::max<int64_t>(g.k, 1) / 64 * 64);
  g.tile = std::max<int64_t>(1, g.pointwise ? g.p : std::min(g.p, fits));
  return g;
}

void unfold(const ConvGeometry& g, const std::byte* image, int64_t first, int64_t count, std::byte* columns,
            size_t element, int threads) {
  const auto as = [&]<class S>(S) {
    unfold_as(g, reinterpret_cast<const S*>(image), first, count, reinterpret_cast<S*>(columns), threads);
  };
  if (element == 8)
    as(uint64_t{});
  else if (element == 4)
    as(uint32_t{});
  else
    as(uint16_t{});
}

// A channel belongs to one piece, so the order of its additions is fixed.
template <class C>
void fold(const ConvGeometry& g, const C* columns, int64_t first, int64_t count, C* image, int threads) {
  const int64_t step = g.attrs.stride[1];
#pragma omp parallel for schedule(static) num_threads(threads) if (g.k * count > kParallelElements)
  for (int64_t c = 0; c < g.cg; ++c)
    for (int64_t tap = 0; tap < g.kh * g.kw; ++tap) {
      const int64_t start = tap % g.kw * g.attrs.dilation[1] - g.attrs.padding[1];
      const Span valid = inside(g.wo, step, start, g.w);
      const C* row = columns + (c * g.kh * g.kw + tap) * count;
      for_each_output_row(g, first, count, tap / g.kw, [&](int64_t ih, int64_t ow, int64_t last, int64_t at) {
        if (ih < 0) return;
        const int64_t begin = std::clamp(valid.begin, ow, last), end = std::clamp(valid.end, begin, last);
        const C* from = row + at - ow;
        C* to = image + (c * g.h + ih) * g.w;
        for (int64_t i = begin; i < end; ++i) to[start + i * step] += from[i];
      });
    }
}

template void fold<float>(const ConvGeometry&, const float*, int64_t, int64_t, float*, int);
template void fold<double>(const ConvGeometry&, const double*, int64_t, int64_t, double*, int);
template void fold<Counted>(const ConvGeometry&, const Counted*, int64_t, int64_t, Counted*, int);

}  // namespace reckon::ops
