// The two gates against their compositions: equal values and gradients, fewer bytes kept.
#include <gtest/gtest.h>

#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/mul_sigmoid/mul_sigmoid.h"
#include "ops/swiglu/swiglu.h"
#include "ops/view/view.h"
#include "tests/support/op_values.h"

namespace reckon::testing {
namespace {

struct Gate {
  Tensor (*fused)(const Tensor&, const Tensor&);
  Tensor (*composed)(const Tensor&, const Tensor&);
};

const Gate kGates[] = {
    {ops::swiglu, [](const Tensor& gate, const Tensor& up) { return ops::mul(ops::silu(gate), up); }},
    {ops::mul_sigmoid, [](const Tensor& x, const Tensor& gate) { return ops::mul(x, ops::sigmoid(gate)); }}};

TEST(Gates, EqualTheirCompositionsInValueAndGradient) {
  for (const Gate& g : kGates) {
    const Values v;
    Tensor leaf[2][2], out[2];
    for (int k = 0; k < 2; ++k) {
      leaf[k][0] = v.leaf(v.random({3, 4, 10}, DType::f64, 1));
      leaf[k][1] = v.leaf(v.random({3, 4, 10}, DType::f64, 2));
      out[k] = (k ? g.composed : g.fused)(leaf[k][0], leaf[k][1]);
      autograd::backward(out[k], v.random({3, 4, 10}, DType::f64, 3));
    }
    expect_near(out[0], to_doubles(out[1]), 1e-14);
    for (int i = 0; i < 2; ++i)
      expect_near(autograd::grad_of(leaf[0][i]), to_doubles(autograd::grad_of(leaf[1][i])), 1e-14);
  }
}

TEST(Gates, KeepTheirInputsAloneWhileTheCompositionKeepsTheActivationToo) {
  for (const Gate& g : kGates)
    for (bool fused : {true, false}) {
      const Values v;
      const Tensor leaf = v.leaf(v.random({6, 20}, DType::f32, 1));
      const Tensor y = (fused ? g.fused : g.composed)(ops::scale(leaf, 2.0), ops::scale(leaf, 3.0));
      const int64_t one = 6 * 20 * 4;
      // The composed mul_sigmoid keeps sigmoid's output and x, not the gate: no more than the fused one.
      EXPECT_EQ(saved_bytes(v), fused || g.fused == ops::mul_sigmoid ? 2 * one : 3 * one);
    }
}

TEST(Gates, TakeHalvesOfOneProductWithoutACopy) {
  const Values v;
  const Tensor both = v.leaf(v.random({3, 16}, DType::f64, 1));
  const TensorList half = ops::split(both, -1, 2);
  const size_t before = v.device->arena().stats().requested;
  const Tensor y = ops::swiglu(half[0], half[1]);
  EXPECT_EQ(v.device->arena().stats().requested - before, 3u * 8 * 8);
  EXPECT_EQ(to_doubles(y), to_doubles(ops::swiglu(ops::copy(half[0]), ops::copy(half[1]))));
  autograd::backward(y, v.random({3, 8}, DType::f64, 2));
  EXPECT_EQ(autograd::grad_of(both).shape(), both.shape());
}

TEST(Gates, OnlyTheInputThatLearnsGetsAGradient) {
  const Values v;
  const Tensor x = v.leaf(v.f64({2}, {3, -5})), gate = v.f64({2}, {0, 0});
  autograd::backward(ops::mul_sigmoid(x, gate), v.f64({2}, {1, 4}));
  expect_near(autograd::grad_of(x), {0.5, 2}, 1e-15);
}

TEST(Gates, NameTheOperandOfAnotherShape) {
  const Values v;
  try {
    ops::swiglu(v.random({2, 8}, DType::f32, 1), v.random({8}, DType::f32, 1));
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("swiglu's up must have shape [2, 8]"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace reckon::testing
