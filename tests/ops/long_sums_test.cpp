// Sums over more terms than f32 can count one by one.
#include <gtest/gtest.h>

#include <cmath>

#include "ops/binary/binary.h"
#include "ops/embedding/embedding.h"
#include "ops/fill/fill.h"
#include "ops/grad_norm/grad_norm.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/linear/linear.h"
#include "ops/matmul/matmul.h"
#include "ops/mean_var/mean_var.h"
#include "ops/mse_loss/mse_loss.h"
#include "ops/softmax/softmax.h"
#include "ops/sum/sum.h"
#include "ops/view/view.h"
#include "tests/support/op_values.h"

namespace reckon::testing {
namespace {

// A running f32 sum of ones stops at 2^24. In pieces of m terms the relative error of n equal terms is below
// (m + n / m) 2^-24 at worst, and 0 where every partial sum is a multiple of a power of two, as here.
constexpr int64_t kMany = (int64_t{1} << 24) + (int64_t{1} << 22);

TEST(LongSums, GoOnPastTwoToTheTwentyFour) {
  const Values v;
  const auto n = static_cast<double>(kMany);
  for (DType t : {DType::f32, DType::bf16}) {
    SCOPED_TRACE(name_of(t));
    const Tensor ones = ops::full(*v.device, {kMany}, t, 1);
    EXPECT_EQ(to_doubles(ops::sum_wide(ones, {0}))[0], n);
    EXPECT_EQ(to_doubles(ops::mean(ones, {0}))[0], 1);
    EXPECT_EQ(to_doubles(ops::sum_wide(ops::reshape(ones, {kMany / 2, 2}), {0}))[1], n / 2);
    EXPECT_EQ(to_doubles(ops::sum_wide(ops::reshape(ones, {kMany, 1}), {0}))[0], n);
    const Tensor product = ops::matmul(ops::reshape(ones, {1, kMany}), ops::reshape(ones, {kMany, 1}));
    EXPECT_EQ(to_doubles(product)[0], n);
    EXPECT_NEAR(to_doubles(ops::logsumexp(ones))[0], 1 + std::log(n), (1 + std::log(n)) * tolerance(t));
    if (t == DType::bf16) continue;
    const Tensor zeros = ops::full(*v.device, {kMany}, t, 0);
    EXPECT_EQ(to_doubles(ops::mse_loss(ones, zeros, ops::Reduction::mean))[0], 1);
    EXPECT_EQ(to_doubles(ops::mse_loss(ones, zeros, ops::Reduction::sum))[0], n);
    const TensorList list{ones};
    EXPECT_NEAR(to_doubles(ops::grad_norm(list))[0], std::sqrt(n), 1e-7 * std::sqrt(n));
  }
}

TEST(LongSums, GradientsOfParametersGoOnTheSame) {
  const Values v;
  const auto n = static_cast<double>(kMany);
  const Tensor x = ops::full(*v.device, {kMany, 1}, DType::f32, 1);
  const Tensor weight = v.leaf(v.f32({1, 1}, {1})), bias = v.leaf(v.f32({1}, {0}));
  autograd::backward(ops::sum_all(ops::linear(x, weight, bias)));
  EXPECT_EQ(to_doubles(autograd::grad_of(weight))[0], n);
  EXPECT_EQ(to_doubles(autograd::grad_of(bias))[0], n);
  const Tensor scale = v.leaf(v.f32({1}, {1})), shift = v.leaf(v.f32({1}, {0}));
  autograd::backward(ops::sum_all(ops::layer_norm(x, scale, shift, 1e-5)));
  EXPECT_EQ(to_doubles(autograd::grad_of(shift))[0], n);
  const Tensor table = v.leaf(v.f32({2, 1}, {1, 1}));
  const Tensor ids = v.i64({kMany}, std::vector<int64_t>(static_cast<size_t>(kMany), 1));
  autograd::backward(ops::sum_all(ops::embedding(ids, table)));
  EXPECT_EQ(to_doubles(autograd::grad_of(table)), (std::vector<double>{0, n}));
  const Tensor factor = v.leaf(v.f32({1}, {1}));
  autograd::backward(ops::sum_all(ops::mul(x, factor)));
  EXPECT_EQ(to_doubles(autograd::grad_of(factor))[0], n);
}

// Random terms: the bound of pieces of at most 512 terms.
TEST(LongSums, OfRandomTermsStayWithinTheirBound) {
  const Values v;
  const int64_t n = int64_t{1} << 22;
  const Tensor x = Tensor::empty(*v.device, {n}, DType::f32);
  ops::fill_random(x, ops::Distribution::uniform, 0.5, 0.5, 1, 2);
  double exact = 0;
  for (double e : to_doubles(x)) exact += e;
  const double bound = (512 + static_cast<double>(n) / 512) * 0x1p-24;
  EXPECT_NEAR(to_doubles(ops::sum_all(x))[0], exact, bound * exact);
  EXPECT_NEAR(to_doubles(ops::sum(ops::reshape(x, {n / 4, 4}), {0}))[0], exact / 4, bound * exact);
}

}  // namespace
}  // namespace reckon::testing
