#include "ops/norm_linear/norm_linear.h"

#include "ops/norm_linear/norm_linear_attrs.h"
#include "ops/rms_norm/rms_norm.h"
#include "tests/ops/fused_support.h"

namespace reckon::testing {
namespace {

using ops::absent;
using ops::normal;
using ops::NormKind;

TEST(NormLinear, EqualsLayerNormFollowedByLinears) {
  // 530 rows: more than one row tile.
  expect_equals_composition(
      {normal({10, 53, 12}), normal({12}), normal({12}), normal({7, 12}), normal({7}), normal({20, 12}),
       absent()},
      [](const TensorList& in) {
        return ops::norm_linear(in[0], NormKind::layer, in[1], in[2], 1e-5, std::array{in[3], in[5]},
                                std::array{in[4], in[6]});
      },
      [](const TensorList& in) {
        const Tensor n = eager_layer_norm(in[0], in[1], in[2], 1e-5);
        return TensorList{ops::linear(n, in[3], in[4]), ops::linear(n, in[5])};
      });
}

TEST(NormLinear, EqualsRmsNormFollowedByLinears) {
  expect_equals_composition(
      {normal({19, 12}), normal({12}), normal({7, 12}), normal({7}), normal({3, 12})},
      [](const TensorList& in) {
        return ops::norm_linear(in[0], NormKind::rms, in[1], {}, 1e-6, std::array{in[2], in[4]},
                                std::array{in[3], Tensor{}});
      },
      [](const TensorList& in) {
        const Tensor n = ops::rms_norm(in[0], in[1], 1e-6);
        return TensorList{ops::linear(n, in[2], in[3]), ops::linear(n, in[4])};
      });
}

TEST(NormLinear, TakesAnyNumberOfLinears) {
  for (const size_t n : {1, 14, 15, 29, 40}) {
    std::vector<ops::InputSpec> specs{normal({6, 5}), normal({5}), normal({5})};
    for (size_t i = 0; i < 2 * n; ++i) specs.push_back(normal(i < n ? Shape{3, 5} : Shape{3}));
    const auto part = [n](const TensorList& in, size_t first) { return std::span(in).subspan(first, n); };
    expect_equals_composition(
        specs,
        [&](const TensorList& in) {
          return ops::norm_linear(in[0], NormKind::layer, in[1], in[2], 1e-5, part(in, 3), part(in, 3 + n));
        },
        [&](const TensorList& in) {
          const Tensor y = eager_layer_norm(in[0], in[1], in[2], 1e-5);
          TensorList out;
          for (size_t i = 0; i < n; ++i) out.push_back(ops::linear(y, in[3 + i], in[3 + n + i]));
          return out;
        });
  }
}

TEST(NormLinear, AGradientWithNothingTrainedBelowItsOutputIsDropped) {
  const auto frozen = [](Shape s) {
    ops::InputSpec spec = normal(s);
    spec.no_grad = true;
    return spec;
  };
  const Outcome r =
      run_composition({frozen({6, 5}), frozen({5}), frozen({5}), normal({4, 5}), frozen({3, 5})}, DType::f64,
                      [](const TensorList& in) {
                        return TensorList{ops::norm_linear(in[0], NormKind::layer, in[1], in[2], 1e-5,
                                                           std::array{in[3], in[4]}, {})[1]};
                      });
  for (const auto& gradient : r.gradients) EXPECT_TRUE(gradient.empty());
}

TEST(NormLinear, OutputsThatNobodyUsesGetNoGradient) {
  const auto specs = std::vector{normal({6, 5}), normal({5}), normal({5}), normal({4, 5}), normal({3, 5})};
  const Outcome all = run_composition(specs, DType::f64, [](const TensorList& in) {
    return TensorList{
        ops::norm_linear(in[0], NormKind::layer, in[1], in[2], 1e-5, std::array{in[3], in[4]}, {})[1]};
  });
  const Outcome one = run_composition(specs, DType::f64, [](const TensorList& in) {
    return TensorList{ops::linear(eager_layer_norm(in[0], in[1], in[2], 1e-5), in[4])};
  });
  EXPECT_TRUE(all.gradients[3].empty());
  for (size_t i : {0, 1, 2, 4}) EXPECT_LE(relative_error(all.gradients[i], one.gradients[i]), 1e-12) << i;
}

// Eager keeps the normalised rows as well: c + 2 elements per row beside x.
TEST(NormLinear, KeepsTwoStatisticsPerRowAndNoNormalisedCopy) {
  const int64_t rows = 40, c = 16;
  const auto specs = std::vector{normal({rows, c}), normal({c}),    normal({c}), normal({8, c}),
                                 absent(),          normal({8, c}), absent()};
  const auto layer = std::make_shared<ops::NormLinearAttrs>(NormKind::layer, 1e-5);
  EXPECT_EQ(kept_bytes("norm_linear", specs, layer, {}), 4 * rows * 2);
  EXPECT_EQ(kept_bytes("norm_linear", specs, layer, {0}), 4 * rows * (c + 2));
  auto rms_specs = specs;
  rms_specs[2] = absent();
  EXPECT_EQ(
      kept_bytes("norm_linear", rms_specs, std::make_shared<ops::NormLinearAttrs>(NormKind::rms, 1e-5), {}),
      4 * rows);
}

TEST(NormLinear, KeepsAWideResidualAsItIsAndAnswersInTheWeightsType) {
  auto device = make_device(DeviceKind::cpu);
  const auto make = [&](Shape s, DType t) {
    return make_inputs(*device, {.name = "x", .inputs = {normal(s)}}, t, 4)[0];
  };
  const Tensor x = make({6, 8}, DType::f32), g = make({8}, DType::f32), b = make({8}, DType::f32),
               w = make({5, 8}, DType::bf16);
  const Tensor y = ops::norm_linear(x, NormKind::layer, g, b, 1e-5, std::array{w}, {})[0];
  EXPECT_EQ(y.dtype(), DType::bf16);
  const Tensor exact =
      ops::norm_linear(x, NormKind::layer, g, b, 1e-5, std::array{ops::cast(w, DType::f32)}, {})[0];
  EXPECT_LE(relative_error(to_doubles(y), to_doubles(exact)), tolerance(DType::bf16));
}

TEST(NormLinear, SaysWhichWeightDoesNotFit) {
  auto device = make_device(DeviceKind::meta);
  const Tensor x = Tensor::empty(*device, {2, 8}, DType::f32), v = Tensor::empty(*device, {8}, DType::f32),
               w = Tensor::empty(*device, {5, 7}, DType::f32);
  try {
    ops::norm_linear(x, NormKind::layer, v, v, 1e-5, std::array{w}, {});
    FAIL() << "a weight of width 7 was accepted for rows of width 8";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("weight 0 must be [out, 8], got f32[5, 7]"), std::string::npos)
        << e.what();
  }
}

}  // namespace
}  // namespace reckon::testing
