#include "ops/mean_var/mean_var.h"

#include <gtest/gtest.h>

#include "autograd/engine.h"
#include "autograd/node.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

using V = std::vector<double>;

// First rows of a published case: PyTorch 1.13.1, var_mean over the last axis,
// biased, cotangents for both results.
const V kX{0.9567869901657104,   -1.4279450178146362, 1.9545592069625854,  -0.39268121123313904,
           -0.16640296578407288, 1.0768901109695435,  -0.0479201003909111, -0.3564784824848175,
           -0.17478685081005096, -1.6110310554504395, 0.14353108406066895, -1.2248320579528809,
           -1.191125750541687,   -0.9595946669578552, 1.0012837648391724,  1.2725411653518677,
           -0.8773344159126282,  1.2456073760986328};

Tensor tensor(Device& device, const V& v, Shape shape) {
  return Tensor::from_host(device, shape, DType::f64, v.data(), v.size() * 8, Category::input);
}

TEST(MeanVar, AgreesWithPublishedValuesAndGradients) {
  auto device = make_device(DeviceKind::cpu);
  Tensor x = tensor(*device, kX, {2, 9});
  autograd::set_requires_grad(x);
  const auto [mean, var] = ops::mean_var(x, {-1});
  EXPECT_LE(relative_error(to_doubles(mean), {0.15800240884224573, -0.24455050627390543}), 1e-13);
  EXPECT_LE(relative_error(to_doubles(var), {0.8946212934075718, 1.2067530376973545}), 1e-13);
  const TensorList roots{mean, var}, seeds{tensor(*device, {-1.3273080587387085, -0.08402689546346664}, {2}),
                                           tensor(*device, {-0.5730946660041809, 0.3249742388725281}, {2})};
  autograd::backward(roots, seeds);
  EXPECT_LE(
      relative_error(to_doubles(autograd::grad_of(x)),
                     {-0.24920738049160326, 0.0544986625357248, -0.3762780327879268, -0.07734670756628409,
                      -0.10616423101064956, -0.26450303780341045, -0.12125354171503008, -0.08195728328638616,
                      -0.10509650661314282, -0.10801876091877591, 0.018689571490596715, -0.08012882197097537,
                      -0.07769467050516288, -0.06097430658005457, 0.08063346584101111, 0.10022272523437858,
                      -0.055033759363857744, 0.09827766130937346}),
      1e-12);
}

TEST(MeanVar, UnbiasedDividesByOneLessAndKeepsAxesOnRequest) {
  auto device = make_device(DeviceKind::cpu);
  const Tensor x = tensor(*device, kX, {2, 3, 3});
  const auto [mean, var] = ops::mean_var(x, {1, 2}, /*unbiased=*/true, /*keep_axes=*/true);
  EXPECT_EQ(mean.shape(), (Shape{2, 1, 1}));
  EXPECT_EQ(var.shape(), (Shape{2, 1, 1}));
  EXPECT_LE(relative_error(to_doubles(var), {0.8946212934075718 * 9 / 8, 1.2067530376973545 * 9 / 8}), 1e-13);
}

// In f16 the sum of these is infinite; in bf16 it stops at 256. The gradient is one over the count.
TEST(MeanVar, SixteenBitsAreRoundedOnceAtTheEnd) {
  auto device = make_device(DeviceKind::cpu);
  for (DType t : {DType::f16, DType::bf16})
    for (double value : {1.0, 100.0}) {
      Tensor x = from_doubles(*device, {70000}, t, V(70000, value));
      autograd::set_requires_grad(x);
      const Tensor mean = ops::mean(x, {0});
      EXPECT_EQ(mean.dtype(), t);
      EXPECT_EQ(to_doubles(mean)[0], value);
      autograd::backward(mean);
      for (double g : to_doubles(autograd::grad_of(x)))
        EXPECT_NEAR(g, 1 / 70000.0, 0x1p-25);  // half a unit of f16 there
      const auto [m, var] = ops::mean_var(x, {0});
      EXPECT_EQ(to_doubles(m)[0], value);
      EXPECT_EQ(to_doubles(var)[0], 0);
    }
}

// The squares of the first leave f16 though their mean is far from it, those of the second vanish in it.
TEST(MeanVar, SquaresMayLeaveTheRangeOfF16) {
  auto device = make_device(DeviceKind::cpu);
  const auto variance = [&](double one, size_t n) {
    V v(n, 0.0);
    v[0] = one;
    Tensor x = from_doubles(*device, {static_cast<int64_t>(n)}, DType::f16, v);
    autograd::set_requires_grad(x);
    const Tensor var = ops::mean_var(x, {0}).var;
    autograd::backward(var);
    return std::pair{to_doubles(var)[0], to_doubles(autograd::grad_of(x))[0]};
  };
  const double n = 4096, far = 2048 * 2048 * (1 / n - 1 / n / n);
  EXPECT_NEAR(variance(2048, 4096).first, far, 1e-3 * far);
  EXPECT_NEAR(variance(2048, 4096).second, 2 * 2048 * (1 - 1 / n) / n, 2e-3);
  EXPECT_NEAR(variance(1.0 / 512, 2).first, 0x1p-20, 0x1p-25);
}

TEST(MeanVar, OneElementHasNoUnbiasedVariance) {
  auto device = make_device(DeviceKind::cpu);
  EXPECT_THROW(ops::mean_var(tensor(*device, {1, 2}, {2, 1}), {1}, true), Error);
  EXPECT_EQ(to_doubles(ops::mean_var(tensor(*device, {1, 2}, {2, 1}), {1}).var), (V{0, 0}));
}

}  // namespace
}  // namespace reckon::testing
