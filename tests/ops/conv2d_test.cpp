// Convolution against plain loops over several tiles, its work and memory, and the mistakes it names.
#include "ops/conv2d/conv2d.h"

#include <gtest/gtest.h>

#include "autograd/engine.h"
#include "autograd/node.h"
#include "ops/fill/fill.h"
#include "tests/support/event_log.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

using V = std::vector<double>;

Tensor random(Device& device, const Shape& shape, uint64_t stream, DType dtype = DType::f64) {
  Tensor t = Tensor::empty(device, shape, dtype);
  ops::fill_random(t, ops::Distribution::normal, 0.0, 1.0, 5, stream);
  return t;
}

// 3 x 3, stride (2, 1), padding (1, 2), dilation (1, 2), two groups: calls f(y index, x index, w index) for
// every tap inside the image.
struct Wide {
  static constexpr int64_t kH = 181, kW = 203, kHo = 91, kWo = 203, kChannels = 4, kFilters = 6;
  template <class F>
  static void taps(F f) {
    for (int64_t o = 0; o < kFilters; ++o)
      for (int64_t oh = 0; oh < kHo; ++oh)
        for (int64_t ow = 0; ow < kWo; ++ow)
          for (int64_t c = 0; c < 2; ++c)
            for (int64_t r = 0; r < 3; ++r)
              for (int64_t s = 0; s < 3; ++s) {
                const int64_t h = oh * 2 - 1 + r, w = ow - 2 + 2 * s;
                if (h < 0 || h >= kH || w < 0 || w >= kW) continue;
                f(static_cast<size_t>((o * kHo + oh) * kWo + ow),
                  static_cast<size_t>(((o / 3 * 2 + c) * kH + h) * kW + w),
                  static_cast<size_t>(((o * 2 + c) * 3 + r) * 3 + s));
              }
  }
};

TEST(Conv2d, SeveralTilesAgreeWithPlainLoopsForwardAndBackward) {
  auto device = make_device(DeviceKind::cpu);
  Tensor x = random(*device, {1, Wide::kChannels, Wide::kH, Wide::kW}, 1),
         w = random(*device, {Wide::kFilters, 2, 3, 3}, 2);
  autograd::set_requires_grad(x);
  autograd::set_requires_grad(w);
  const Tensor y = ops::conv2d(x, w, {}, {2, 1}, {1, 2}, {1, 2}, 2);
  ASSERT_EQ(y.shape(), (Shape{1, Wide::kFilters, Wide::kHo, Wide::kWo}));
  const Tensor seed = random(*device, y.shape(), 3);
  const V xv = to_doubles(x), wv = to_doubles(w), gv = to_doubles(seed);
  V ye(static_cast<size_t>(y.numel())), dx(xv.size()), dw(wv.size());
  Wide::taps([&](size_t yi, size_t xi, size_t wi) {
    ye[yi] += xv[xi] * wv[wi];
    dx[xi] += gv[yi] * wv[wi];
    dw[wi] += gv[yi] * xv[xi];
  });
  EXPECT_LE(relative_error(to_doubles(y), ye), 1e-13);
  autograd::backward({y}, {seed});
  EXPECT_LE(relative_error(to_doubles(autograd::grad_of(x)), dx), 1e-13);
  EXPECT_LE(relative_error(to_doubles(autograd::grad_of(w)), dw), 1e-12);
}

struct Totals {
  int64_t flops = 0, workspace = 0, unfolded = 0;
};

Totals totals(const std::vector<Event>& events) {
  Totals t;
  for (const Event& e : events) {
    if (e.kind == EventKind::op_end) t.flops += e.cost.matmul_flops;
    if (e.kind != EventKind::allocated || e.category != Category::workspace) continue;
    t.workspace += e.bytes;
    if (name_of(e.label) == "unfolded tile") t.unfolded += e.bytes;
  }
  return t;
}

TEST(Conv2d, BackwardCostsTwiceTheForwardProducts) {
  // 2 * 2 images * 6 filters * 8 * 8 positions * 2 channels * 3 * 2 taps
  constexpr int64_t kForward = 18432;
  auto device = make_device(DeviceKind::meta);
  Tensor x = Tensor::empty(*device, {2, 4, 8, 7}, DType::f32),
         w = Tensor::empty(*device, {6, 2, 3, 2}, DType::f32);
  autograd::set_requires_grad(x);
  autograd::set_requires_grad(w);
  EventLog log;
  device->add_sink(&log);
  {
    const Tensor y = ops::conv2d(x, w, {}, {1, 1}, {2, 1}, {2, 1}, 2);
    EXPECT_EQ(totals(log.events).flops, kForward);
    log.events.clear();
    autograd::backward({y}, {Tensor::empty(*device, y.shape(), DType::f32)});
    EXPECT_EQ(totals(log.events).flops, 2 * kForward);
  }
  device->remove_sink(&log);
}

TEST(Conv2d, HoldsOneTileOfTheUnfoldedInputAndNoneForPointwiseFilters) {
  auto device = make_device(DeviceKind::meta);
  const Tensor x = Tensor::empty(*device, {1, 64, 512, 512}, DType::f32);
  for (int64_t taps : {3, 1}) {
    EventLog log;
    device->add_sink(&log);
    ops::conv2d(x, Tensor::empty(*device, {64, 64, taps, taps}, DType::f32), {}, {1, 1}, {taps / 2, taps / 2});
    device->remove_sink(&log);
    const Totals t = totals(log.events);
    // The whole unfolded input of the 3 x 3 filter has 576 * 512 * 512 elements, 604 MB.
    if (taps == 3)
      EXPECT_GT(t.unfolded, 0);
    else
      EXPECT_EQ(t.unfolded, 0);
    EXPECT_LE(t.unfolded, 1 << 20);
  }
}

TEST(Conv2d, HalfTypesSumOverTilesInF32) {
  auto device = make_device(DeviceKind::cpu);
  // Every element of the weight's gradient is a sum of 2^14 ones: in bf16 steps it would stop at 256.
  Tensor x = ops::full(*device, {1, 40, 128, 128}, DType::bf16, 1.0),
         w = ops::full(*device, {1, 40, 1, 3}, DType::bf16, 0.0);
  autograd::set_requires_grad(w);
  const Tensor y = ops::conv2d(x, w, {}, {1, 1}, {0, 1});
  autograd::backward({y}, {ops::full(*device, y.shape(), DType::bf16, 1.0)});
  const V dw = to_doubles(autograd::grad_of(w));
  EXPECT_EQ(dw[1], 128 * 128);
  EXPECT_EQ(dw[0], 128 * 127);
}

TEST(Conv2d, HalfTypesAreRoundedToTheNearest) {
  auto device = make_device(DeviceKind::cpu);
  const auto ones = [&](const Shape& shape) {
    Tensor t = ops::full(*device, shape, DType::bf16, 1.0);
    autograd::set_requires_grad(t);
    return t;
  };
  const Tensor x = ones({1, 1, 7, 37}), w = ones({259, 1, 1, 3});
  const Tensor y = ops::conv2d(x, w, {}, {1, 1}, {0, 1});
  autograd::backward({y}, {ops::full(*device, y.shape(), DType::bf16, 1.0)});
  // Of bf16's steps of 2 the even one, and of its steps of 4.
  EXPECT_EQ(to_doubles(autograd::grad_of(w))[1], 260) << "7 * 37 terms";
  EXPECT_EQ(to_doubles(autograd::grad_of(x))[0], 520) << "2 * 259 terms";
}

TEST(Conv2d, MistakesAreNamed) {
  auto device = make_device(DeviceKind::cpu);
  const Tensor x = random(*device, {1, 4, 5, 5}, 1), w = random(*device, {6, 2, 3, 3}, 2);
  const auto message = [&](auto... arguments) -> std::string {
    try {
      ops::conv2d(arguments...);
    } catch (const Error& e) {
      return e.what();
    }
    return "accepted";
  };
  EXPECT_NE(message(x, w).find("4 channels in 1 groups needs a weight [O, 4, kh, kw]"), std::string::npos);
  EXPECT_NE(
      message(x, w, Tensor{}, Dims{1, 1}, Dims{0, 0}, Dims{3, 1}, int64_t{2}).find("reaches over 7 positions"),
      std::string::npos);
  EXPECT_NE(message(x, w, Tensor{}, Dims{0, 1}, Dims{0, 0}, Dims{1, 1}, int64_t{2})
                .find("strides and dilations of at least 1"),
            std::string::npos);
  EXPECT_NE(message(x, w, Tensor{}, Dims{1}).find("two numbers each"), std::string::npos);
}

}  // namespace
}  // namespace reckon::testing
