#include "ops/outer_product_mean/outer_product_mean.h"

#include <algorithm>

#include "ops/outer_product_mean/outer_product_mean_attrs.h"
#include "tests/ops/fused_support.h"

namespace reckon::testing {
namespace {

using ops::absent;
using ops::mask01;
using ops::normal;
using Normalize = ops::OuterProductMeanOptions::Normalize;

// The whole [B, R, R, c, c] product, as the papers write it.
Tensor eager(const TensorList& in, Normalize normalize, double eps) {
  const Tensor &a = in[0], &b = in[1], &mask = in[4];
  const int64_t batch = a.size(0), s = a.size(1), r = a.size(2), c = a.size(3);
  const Tensor left = ops::reshape(ops::permute(a, {0, 2, 3, 1}), {batch, r * c, s});
  const Tensor right = ops::reshape(b, {batch, s, r * c});
  Tensor o =
      ops::reshape(ops::permute(ops::reshape(ops::matmul(left, right), {batch, r, c, r, c}), {0, 1, 3, 2, 4}),
                   {batch, r, r, c * c});
  std::vector<double> counts(static_cast<size_t>(batch * r * r), static_cast<double>(s));
  if (mask.defined()) {
    const auto m = to_doubles(mask);
    for (int64_t x = 0; x < batch; ++x)
      for (int64_t i = 0; i < r; ++i)
        for (int64_t j = 0; j < r; ++j) {
          double n = 0;
          for (int64_t k = 0; k < s; ++k) n += m[(x * s + k) * r + i] * m[(x * s + k) * r + j];
          counts[(x * r + i) * r + j] = n;
        }
  }
  for (double& n : counts)
    n = 1.0 / (normalize == Normalize::none
                   ? 1.0
                   : (normalize == Normalize::divide_after ? eps + n : std::max(n, 1.0)));
  const Tensor f = Tensor::from_host(a.device(), {batch, r, r, 1}, DType::f64, counts.data(), counts.size() * 8,
                                     Category::input);
  if (normalize == Normalize::divide_before) return ops::linear(ops::mul(o, f), in[2], in[3]);
  return ops::mul(ops::linear(o, in[2], in[3]), f);
}

void expect_equal(std::vector<ops::InputSpec> specs, Normalize normalize) {
  expect_equals_composition(
      specs,
      [&](const TensorList& in) {
        return TensorList{ops::outer_product_mean(in[0], in[1], in[2], in[3], in[4], {normalize, 1e-3})};
      },
      [&](const TensorList& in) { return TensorList{eager(in, normalize, 1e-3)}; });
}

TEST(OuterProductMean, EqualsTheWholeOuterProductWhenItIsFormedFirst) {
  const ops::OuterSizes n{2, 60, 11, 5, 9};
  ASSERT_FALSE(ops::outer_tiles(n, false).project_first || ops::outer_tiles(n, true).project_first);
  for (Normalize how : {Normalize::none, Normalize::divide_after, Normalize::divide_before}) {
    expect_equal(
        {normal({2, 60, 11, 5}), normal({2, 60, 11, 5}), normal({9, 25}), normal({9}), mask01({2, 60, 11})},
        how);
    expect_equal({normal({2, 60, 11, 5}), normal({2, 60, 11, 5}), normal({9, 25}), absent(), absent()}, how);
  }
}

TEST(OuterProductMean, EqualsTheWholeOuterProductWhenAIsProjectedFirst) {
  const ops::OuterSizes n{2, 3, 40, 12, 10};
  ASSERT_TRUE(ops::outer_tiles(n, false).project_first && ops::outer_tiles(n, true).project_first);
  for (Normalize how : {Normalize::none, Normalize::divide_after, Normalize::divide_before}) {
    expect_equal(
        {normal({2, 3, 40, 12}), normal({2, 3, 40, 12}), normal({10, 144}), normal({10}), mask01({2, 3, 40})},
        how);
    expect_equal({normal({2, 3, 40, 12}), normal({2, 3, 40, 12}), normal({10, 144}), absent(), absent()}, how);
  }
}

TEST(OuterProductMean, EqualsTheWholeOuterProductOverSeveralTilesInBothOrders) {
  struct {
    ops::OuterSizes n;
    bool project_first, several_i, several_j;
  } const cases[] = {{{1, 2, 23, 64, 400}, true, true, false},
                     {{1, 1, 30, 4, 3000}, true, false, true},
                     {{1, 8, 19, 8, 5000}, false, true, true}};
  for (const auto& c : cases) {
    const ops::OuterSizes& n = c.n;
    const ops::OuterTiles t = ops::outer_tiles(n, false), back = ops::outer_tiles(n, true);
    ASSERT_EQ(t.project_first, c.project_first);
    ASSERT_EQ(back.project_first, c.project_first);
    ASSERT_EQ(t.ti < n.r && n.r % t.ti != 0 && back.ti < n.r && n.r % back.ti != 0, c.several_i)
        << t.ti << " " << back.ti;
    ASSERT_EQ(t.tj < n.r && n.r % t.tj != 0, c.several_j) << t.tj;
    const Shape rows{1, n.s, n.r, n.c};
    expect_equal({normal(rows), normal(rows), normal({n.cz, n.c * n.c}), normal({n.cz}), mask01({1, n.s, n.r})},
                 Normalize::divide_after);
  }
}

TEST(OuterProductMean, TakesTheOrderWithFewerFlops) {
  // AF2 at R = 256, o = 32, c_z = 128: projecting first wins below S = 37; bioformer has one row.
  const auto order = [](int64_t s) { return ops::outer_tiles({1, s, 256, 32, 128}, false).project_first; };
  EXPECT_TRUE(order(1));
  EXPECT_TRUE(order(36));
  EXPECT_FALSE(order(37));
  EXPECT_FALSE(order(128));
  const ops::OuterSizes bioformer{1, 1, 501, 128, 128};
  EXPECT_TRUE(ops::outer_tiles(bioformer, false).project_first);
  // 102 times fewer than projecting the outer product, 2 R^2 o^2 c_z.
  EXPECT_EQ(2.0 * 501 * 501 * 128 * 128 * 128 / static_cast<double>(bioformer.project_first()),
            128.0 * 501 / (128 + 501));
}

TEST(OuterProductMean, PairsWithoutACommonRowGiveTheBiasOverEps) {
  auto device = make_device(DeviceKind::cpu);
  const auto from = [&](Shape s, std::vector<float> v) {
    return Tensor::from_host(*device, s, DType::f32, v.data(), v.size() * 4, Category::input);
  };
  // Two rows, two columns, each column seen in one row only: count_01 = 0.
  const Tensor a = from({1, 2, 2, 1}, {2, 0, 0, 3}), mask = from({1, 2, 2}, {1, 0, 0, 1}),
               w = from({1, 1}, {10}), bias = from({1}, {0.5});
  const auto y = to_doubles(ops::outer_product_mean(a, a, w, bias, mask, {Normalize::divide_after, 1e-3}));
  EXPECT_NEAR(y[0], (10 * 4 + 0.5) / 1.001, 1e-4);
  EXPECT_NEAR(y[1], 500, 1e-3);
  EXPECT_NEAR(y[3], (10 * 9 + 0.5) / 1.001, 1e-4);
  const auto before =
      to_doubles(ops::outer_product_mean(a, a, w, bias, mask, {Normalize::divide_before, 1e-3}));
  EXPECT_NEAR(before[1], 0.5, 1e-6);
}

// Eager keeps S R 2 o + R^2 o^2 + R^2 here; this op keeps a and b.
TEST(OuterProductMean, KeepsAAndBAndNothingOfSizeR2) {
  const int64_t s = 128, r = 256, o = 32, cz = 128;
  const auto specs = std::vector{normal({1, s, r, o}), normal({1, s, r, o}), normal({cz, o * o}), normal({cz}),
                                 mask01({1, s, r})};
  const auto attrs = std::make_shared<ops::OuterProductMeanAttrs>(ops::OuterProductMeanOptions{});
  EXPECT_EQ(kept_bytes("outer_product_mean", specs, attrs, {}), 0);
  EXPECT_EQ(kept_bytes("outer_product_mean", specs, attrs, {0, 1}), 4 * s * r * 2 * o);
}

TEST(OuterProductMean, WorksInAFewMebibytesBesideItsOutputs) {
  auto device = make_device(DeviceKind::meta);
  const auto attrs = std::make_shared<ops::OuterProductMeanAttrs>(ops::OuterProductMeanOptions{}, 0xfu);
  const auto make = [&](Shape s) { return Tensor::empty(*device, s, DType::f32); };
  for (auto [s, r, o, cz] :
       {std::array<int64_t, 4>{128, 256, 32, 128}, {512, 384, 32, 128}, {1, 501, 128, 128}}) {
    const Tensor a = make({1, s, r, o}), w = make({cz, o * o}), mask = make({1, s, r});
    for (bool backward : {false, true}) {
      const TensorList in =
          backward ? TensorList{make({1, r, r, cz}), a, a, w, mask} : TensorList{a, a, w, {}, mask};
      const ops::Plan p =
          ops::plan_of(ops::op_by_name(backward ? "outer_product_mean_backward" : "outer_product_mean"), in,
                       attrs, device->spec(), 0);
      size_t bytes = 0;
      for (const auto& x : p.workspaces) bytes += x.bytes;
      EXPECT_LE(bytes, static_cast<size_t>(40) << 20) << s << " " << r << " backward " << backward;
      EXPECT_LE(bytes * 5, static_cast<size_t>(4 * r * r * o * o)) << "against the whole outer product";
    }
  }
}

}  // namespace
}  // namespace reckon::testing
