#include "ops/diagonal/diagonal.h"

#include <algorithm>
#include <cstring>

#include "ops/cast/cast.h"
#include "ops/diagonal/diagonal_attrs.h"
#include "ops/rules.h"

namespace reckon::ops {
namespace {

// Drops axis `second` of a layout and lets axis `first` step along both.
Layout diagonal_layout(const Layout& x, int first, int second) {
  Layout out{{}, {}, x.offset};
  for (int i = 0; i < x.shape.rank(); ++i) {
    if (i == second) continue;
    out.shape.push_back(x.shape[i]);
    out.strides.push_back(i == first ? x.strides[first] + x.strides[second] : x.strides[i]);
  }
  return out;
}

void check_axes(const Shape& s, const DiagonalAttrs& a) {
  RECKON_CHECK(a.first >= 0 && a.first < a.second && a.second < s.rank() && s[a.first] == s[a.second],
               "the diagonal of axes {} and {} of {}: expected two axes of one extent", a.first, a.second,
               to_string(s));
}

Shape with_axis(const Shape& s, const DiagonalAttrs& a) {
  Shape out;
  for (int i = 0; i <= s.rank(); ++i) {
    if (i == a.second) out.push_back(s[a.first]);
    if (i < s.rank()) out.push_back(s[i]);
  }
  return out;
}

void no_kernel(KernelArgs&) {}

// in: contiguous; out: zeros but for the diagonal. Bytes are moved as they are.
void place_run(KernelArgs& a) {
  a.launch(0);
  const auto& t = a.as<DiagonalAttrs>();
  const TensorArg &x = a.in[0], &y = a.out[0];
  const size_t element = size_of(x.dtype);
  std::memset(y.data, 0, static_cast<size_t>(y.numel()) * element);
  int64_t stride[kMaxRank] = {};
  for (int i = 0; i < x.rank; ++i) stride[i] = y.strides[i < t.second ? i : i + 1];
  stride[t.first] += y.strides[t.second];
  const int64_t n = x.numel();
  for (int64_t e = 0; e < n; ++e) {
    int64_t rest = e, to = 0;
    for (int d = x.rank - 1; d >= 0; --d) {
      to += rest % x.shape[d] * stride[d];
      rest /= x.shape[d];
    }
    std::memcpy(y.data + static_cast<size_t>(to) * element, x.data + static_cast<size_t>(e) * element, element);
  }
}

const OpDef place_diagonal_op{
    .name = "place_diagonal",
    .plan =
        [](const PlanContext& c) {
          const auto& a = c.as<DiagonalAttrs>();
          RECKON_CHECK(c.in[0].contiguous() && a.first < c.in[0].rank() && a.second <= c.in[0].rank(),
                       "place_diagonal needs a contiguous input with axis {}, got {}", a.first,
                       describe(c.in[0]));
          Plan p;
          p.outputs = {{.shape = with_axis(c.in[0].shape(), a), .dtype = c.in[0].dtype(), .label = "placed"}};
          p.launches = {{"place_diagonal"}};
          set_traffic(p, c);
          return p;
        },
    .kernels = one_kernel(place_run),
    .gradient_note = "second derivatives are not offered",
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "adjacent", .inputs = {normal({3, 4})}, .attrs = std::make_shared<DiagonalAttrs>(0, 1)},
              {.name = "apart", .inputs = {normal({2, 3, 4})}, .attrs = std::make_shared<DiagonalAttrs>(0, 3)}};
        }};

const OpDef diagonal_op{
    .name = "diagonal",
    .plan =
        [](const PlanContext& c) {
          const auto& a = c.as<DiagonalAttrs>();
          check_axes(c.in[0].shape(), a);
          const Layout view = diagonal_layout(c.in[0].layout(), a.first, a.second);
          Plan p;
          p.outputs = {
              {.shape = view.shape, .dtype = c.in[0].dtype(), .label = "view", .alias_of = 0, .layout = view}};
          return p;
        },
    .kernels = one_kernel(no_kernel),
    .layouts = {.any = ~0u},
    .gradient = Gradient::differentiable,
    .backward = [](BackwardContext& c) -> TensorList {
      const auto& a = c.as<DiagonalAttrs>();
      return call(place_diagonal_op, {contiguous(c.grads[0])}, std::make_shared<DiagonalAttrs>(a));
    },
    .recompute = Recompute::cheap,
    .cases =
        [] {
          return std::vector<OpCase>{
              {.name = "matrix", .inputs = {normal({4, 4})}, .attrs = std::make_shared<DiagonalAttrs>(0, 1)},
              {.name = "apart, transposed",
               .inputs = {{.shape = {3, 2, 3}, .transposed = true}},
               .attrs = std::make_shared<DiagonalAttrs>(0, 2)}};
        }};

}  // namespace

Tensor diagonal(const Tensor& x, int first, int second) {
  first = normalize_axis(first, x.rank());
  second = normalize_axis(second, x.rank());
  return call(diagonal_op, {x},
              std::make_shared<DiagonalAttrs>(std::min(first, second), std::max(first, second)))[0];
}

std::vector<const OpDef*> diagonal_ops() { return {&diagonal_op, &place_diagonal_op}; }

}  // namespace reckon::ops
