// NaN, infinities and subnormal numbers in elementwise functions and reductions, at every instruction set.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ops/activation/activation.h"
#include "ops/cast/cast.h"
#include "ops/mul_sigmoid/mul_sigmoid.h"
#include "ops/op.h"
#include "ops/softmax/softmax.h"
#include "ops/swiglu/swiglu.h"
#include "ops/transition/transition.h"
#include "runtime/cpu/isa.h"
#include "tests/support/op_values.h"

namespace reckon::testing {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
const float kNaN = std::nanf("");

template <class F>
void at_every_level(F&& test) {
  for (int level = 0; level <= static_cast<int>(machine_isa_level()); ++level) {
    SCOPED_TRACE(fmt::format("isa {}", level));
    Values v;
    v.device = make_device(DeviceKind::cpu, 2, level);
    test(v);
  }
}

// Enough copies for whole vectors and a tail.
Tensor repeated(const Values& v, float x, DType t = DType::f32) {
  return ops::cast(v.f32({37}, std::vector<float>(37, x)), t);
}

TEST(NonFinite, ReluKeepsNaNInItsValueAndItsGradient) {
  at_every_level([](const Values& v) {
    for (DType t : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
      const Tensor x = v.leaf(repeated(v, kNaN, t)), y = ops::relu(x);
      autograd::backward(y, repeated(v, 1, t));
      for (double e : to_doubles(y)) EXPECT_TRUE(std::isnan(e));
      for (double e : to_doubles(autograd::grad_of(x))) EXPECT_TRUE(std::isnan(e));
      for (float side : {-kInf, -1.0f, 0.0f, 2.0f, kInf}) {
        const Tensor z = v.leaf(repeated(v, side, t)), r = ops::relu(z);
        autograd::backward(r, repeated(v, 3, t));
        for (double e : to_doubles(r)) EXPECT_EQ(e, side > 0 ? side : 0);
        for (double e : to_doubles(autograd::grad_of(z))) EXPECT_EQ(e, side > 0 ? 3 : 0);
      }
    }
  });
}

// Down to the last subnormal number, of which half a unit is the rounding.
TEST(NonFinite, ExpRoundsToSubnormalNumbersAndOverflowsWhereItMust) {
  at_every_level([](const Values& v) {
    std::vector<float> x;
    for (float e = -110; e <= 90; e += 0.0625f) x.push_back(e);
    x.insert(x.end(), {-87.33654f, -87.3366f, -103.97f, -103.9721f, -104.1f, 88.72283f, 88.7229f, -kInf, kInf});
    const auto n = static_cast<int64_t>(x.size());
    const std::vector<double> got = to_doubles(ops::exp(v.f32({n}, x)));
    for (size_t i = 0; i < x.size(); ++i) {
      const double want = std::exp(static_cast<double>(x[i]));
      if (want > static_cast<double>(std::numeric_limits<float>::max()))
        EXPECT_EQ(got[i], INFINITY) << x[i];
      else
        EXPECT_NEAR(got[i], want, std::max(2e-7 * want, 0x1p-149 * 0.76)) << x[i];
    }
  });
}

TEST(NonFinite, SigmoidAndSiluDoNotFlushToZero) {
  at_every_level([](const Values& v) {
    std::vector<float> x;
    for (float e = -103; e <= 103; e += 0.125f) x.push_back(e);
    const auto n = static_cast<int64_t>(x.size());
    const Tensor in = v.f32({n}, x), ones = v.f32({n}, std::vector<float>(x.size(), 1.0f));
    const std::vector<double> s = to_doubles(ops::sigmoid(in)), silu = to_doubles(ops::silu(in)),
                              gated = to_doubles(ops::mul_sigmoid(ones, in)),
                              swiglu = to_doubles(ops::swiglu(in, ones));
    for (size_t i = 0; i < x.size(); ++i) {
      const double exact = static_cast<double>(x[i]), want = 1 / (1 + std::exp(-exact)),
                   bound = std::max(5e-7 * want, 0x1p-149);
      EXPECT_NEAR(s[i], want, bound) << x[i];
      EXPECT_NEAR(gated[i], want, bound) << x[i];
      EXPECT_NEAR(silu[i], exact * want, bound * (1 + std::fabs(exact))) << x[i];
      EXPECT_NEAR(swiglu[i], exact * want, bound * (1 + std::fabs(exact))) << x[i];
    }
  });
}

TEST(NonFinite, LogAndSqrtTakeSubnormalNumbers) {
  at_every_level([](const Values& v) {
    for (float x : {0x1p-149f, 0x1p-140f, 0x1.8p-127f}) {
      for (double e : to_doubles(ops::log(repeated(v, x))))
        EXPECT_NEAR(e, std::log(static_cast<double>(x)), 1e-5);
      for (double e : to_doubles(ops::sqrt(repeated(v, x))))
        EXPECT_NEAR(e, std::sqrt(static_cast<double>(x)), 2e-7 * std::sqrt(static_cast<double>(x)));
    }
    for (double e : to_doubles(ops::log(repeated(v, 0)))) EXPECT_EQ(e, -INFINITY);
    for (double e : to_doubles(ops::log(repeated(v, -1)))) EXPECT_TRUE(std::isnan(e));
    for (double e : to_doubles(ops::sqrt(repeated(v, -1)))) EXPECT_TRUE(std::isnan(e));
  });
}

TEST(NonFinite, LogsumexpOfAnInfinityIsThatInfinity) {
  at_every_level([](const Values& v) {
    for (DType t : {DType::f64, DType::f32, DType::bf16, DType::f16})
      for (int64_t width : {3, 40, 3000}) {
        std::vector<double> rows(static_cast<size_t>(4 * width), 1.0);
        rows[static_cast<size_t>(width / 2)] = INFINITY;
        for (int64_t j = 0; j < width; ++j) rows[static_cast<size_t>(width + j)] = -INFINITY;
        rows[static_cast<size_t>(2 * width)] = INFINITY, rows[static_cast<size_t>(2 * width + 1)] = NAN;
        rows[static_cast<size_t>(3 * width)] = -INFINITY;
        const Tensor x = v.leaf(from_doubles(*v.device, {4, width}, t, rows)), y = ops::logsumexp(x);
        const std::vector<double> got = to_doubles(y);
        EXPECT_EQ(got[0], INFINITY);
        EXPECT_EQ(got[1], -INFINITY);
        EXPECT_TRUE(std::isnan(got[2]));
        EXPECT_NEAR(got[3], 1 + std::log(static_cast<double>(width - 1)), 8 * tolerance(t));
        for (int64_t i : {0, 2}) {  // infinity - infinity
          const std::vector<double> p = to_doubles(ops::softmax(x)), l = to_doubles(ops::log_softmax(x));
          for (int64_t j = 0; j < width; ++j) {
            EXPECT_TRUE(std::isnan(p[static_cast<size_t>(i * width + j)]));
            EXPECT_TRUE(std::isnan(l[static_cast<size_t>(i * width + j)]));
          }
        }
      }
  });
}

// The relu inside a fused transition.
TEST(NonFinite, TheFusedTransitionKeepsNaN) {
  at_every_level([](const Values& v) {
    for (DType t : {DType::f64, DType::f32, DType::bf16}) {
      const ops::OpDef& op = ops::op_by_name("relu_transition");
      const ops::OpCase c = op.cases()[0];
      TensorList in = make_inputs(*v.device, c, t, 3);
      std::vector<double> bias = to_doubles(in[4]);
      bias[0] = NAN;
      in[4] = from_doubles(*v.device, in[4].shape(), in[4].dtype(), bias);
      for (double e : to_doubles(ops::dispatch(op, in, c.attrs)[0])) EXPECT_TRUE(std::isnan(e));
    }
  });
}

}  // namespace
}  // namespace reckon::testing
