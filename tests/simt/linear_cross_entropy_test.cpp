// Several tiles along both axes, mixed types and ignored rows, which the op's
// declared cases do not reach on a GPU.
#include <cmath>

#include "ops/linear_cross_entropy/linear_cross_entropy_attrs.h"
#include "ops/linear_cross_entropy/linear_cross_entropy_steps.h"
#include "tests/gpu/smallest_shapes.h"
#include "tests/simt/one_op.h"

namespace reckon::testing {
namespace {

using ops::LossSteps;
using ops::Reduction;

struct Head {
  int64_t T, V, H;
  DType x = DType::f32, weight = DType::f32;
};

Tensor targets(Device& device, int64_t T, int64_t V, int64_t ignore_every) {
  std::vector<int64_t> v(static_cast<size_t>(T));
  for (int64_t i = 0; i < T; ++i)
    v[static_cast<size_t>(i)] = ignore_every > 0 && i % ignore_every == 0 ? -100 : i * 977 % V;
  return Tensor::from_host(device, {T}, DType::i64, v.data(), v.size() * 8, Category::input, "targets");
}

Work forward(const Head& h, Reduction reduction, size_t library_bytes = 0) {
  return expect_agreement(
      ops::op_by_name("linear_cross_entropy"),
      [&](Device& d) {
        return TensorList{make(d, {{h.T, h.H}, h.x}, 1), make(d, {{h.V, h.H}, h.weight}, 2),
                          targets(d, h.T, h.V, 5)};
      },
      std::make_shared<ops::LinearCrossEntropyAttrs>(reduction, -100), library_bytes);
}

Work backward(const Head& h, Reduction reduction, bool x, bool weight, size_t library_bytes = 0) {
  return expect_agreement(
      ops::op_by_name("linear_cross_entropy_backward"),
      [&](Device& d) {
        const float g = 3.0f;
        // Maxima of 0, and a sum of V times 1.
        std::vector<float> statistics(static_cast<size_t>(2 * h.T), 0.0f);
        std::fill(statistics.begin() + h.T, statistics.end(), std::log(static_cast<float>(h.V)));
        return TensorList{Tensor::from_host(d, Shape{}, DType::f32, &g, 4, Category::input, "g"),
                          make(d, {{h.T, h.H}, h.x}, 1), make(d, {{h.V, h.H}, h.weight}, 2),
                          targets(d, h.T, h.V, 5),
                          Tensor::from_host(d, {2, h.T}, DType::f32, statistics.data(), statistics.size() * 4,
                                            Category::input, "statistics")};
      },
      std::make_shared<ops::LinearCrossEntropyAttrs>(reduction, -100, x, weight), library_bytes);
}

// 8 x 16 KiB of logits: tiles of 128 rows and 256 classes.
constexpr size_t kSmall = size_t{16} << 10;

constexpr Head kTiled{131, 261, 9};

TEST(LinearCrossEntropyOnAGpu, AgreesAcrossTiles) {
  const LossSteps s(kTiled.T, kTiled.V, kTiled.H, DType::f32, DType::f32, kSmall, false);
  EXPECT_GT(s.tiles.row_tiles(), 1);
  EXPECT_GT(s.tiles.class_tiles(), 1);
  const int64_t tiles = s.tiles.row_tiles() * s.tiles.class_tiles();
  std::vector<std::pair<DType, DType>> types{{DType::bf16, DType::bf16}};
  if (!smallest_shapes())
    types.insert(types.end(), {{DType::f32, DType::f32},
                               {DType::f16, DType::f16},
                               {DType::bf16, DType::f32},
                               {DType::f32, DType::f16}});
  for (auto [x, w] : types) {
    SCOPED_TRACE(fmt::format("{} {}", name_of(x), name_of(w)));
    Head h = kTiled;
    h.x = x, h.weight = w;
    EXPECT_EQ(forward(h, Reduction::mean, kSmall).library_calls, tiles);
    // The gradients of a mean are too small for f16 itself.
    const bool has_f16 = x == DType::f16 || w == DType::f16;
    EXPECT_EQ(backward(h, has_f16 ? Reduction::sum : Reduction::mean, true, true, kSmall).library_calls,
              3 * tiles);
    EXPECT_EQ(backward(h, Reduction::sum, true, false, kSmall).library_calls, 2 * tiles);
    EXPECT_EQ(backward(h, Reduction::sum, false, true, kSmall).library_calls, 2 * tiles);
  }
}

TEST(LinearCrossEntropyOnAGpu, AgreesAtOddSizes) {
  for (const auto& [T, V, H] : {std::array{2L, 1L, 1L}, {3L, 7L, 5L}, {31L, 33L, 1L}, {33L, 1027L, 31L}})
    for (DType t : {DType::f32, DType::bf16}) {
      SCOPED_TRACE(fmt::format("T {} V {} H {} {}", T, V, H, name_of(t)));
      forward({T, V, H, t, t}, Reduction::sum);
      forward({T, V, H, t, t}, Reduction::mean);
      if (V > 1) backward({T, V, H, t, t}, Reduction::mean, true, true);
    }
}

TEST(LinearCrossEntropyOnAGpu, TilesKeepToTheirBudget) {
  for (const auto& [T, V] :
       {std::pair{4096L, 151936L}, {64L, 151936L}, {65536L, 32000L}, {1L, 37L}, {8192L, 8193L}}) {
    const LossSteps s(T, V, 896, DType::bf16, DType::bf16, size_t{32} << 20, true, true, true);
    EXPECT_LE(s.bytes(LossSteps::logits), size_t{256} << 20);
    EXPECT_LE(s.tiles.most_rows(), 32768);
    int64_t classes = 0, rows = 0;
    for (int64_t v = 0; v < s.tiles.class_tiles(); ++v) classes += s.tiles.classes(v);
    for (int64_t r = 0; r < s.tiles.row_tiles(); ++r) rows += s.tiles.rows(r);
    EXPECT_EQ(classes, V);
    EXPECT_EQ(rows, T);
  }
  const LossSteps usual(4096, 151936, 896, DType::bf16, DType::bf16, size_t{32} << 20, true, true, true);
  EXPECT_EQ(usual.tiles.row_tiles(), 1);
  EXPECT_EQ(usual.tiles.class_tiles(), 10);
}

double loss_of(const std::vector<int64_t>& wanted, Reduction reduction) {
  Device gpu(DeviceKind::cuda, simt::spec(), DeviceOptions{}, simt::make_backend());
  const auto T = static_cast<int64_t>(wanted.size());
  const TensorList in{
      make(gpu, {{T, 4}}, 1), make(gpu, {{6, 4}}, 2),
      Tensor::from_host(gpu, {T}, DType::i64, wanted.data(), wanted.size() * 8, Category::input, "targets")};
  const TensorList out = ops::dispatch(ops::op_by_name("linear_cross_entropy"), in,
                                       std::make_shared<ops::LinearCrossEntropyAttrs>(reduction, -100));
  return to_doubles(out[0])[0];
}

TEST(LinearCrossEntropyOnAGpu, IgnoredRowsDoNotCountAndStrayTargetsGiveNaN) {
  EXPECT_EQ(loss_of({-100, -100}, Reduction::sum), 0.0);
  EXPECT_TRUE(std::isnan(loss_of({-100, -100}, Reduction::mean)));
  EXPECT_FALSE(std::isnan(loss_of({-100, 5}, Reduction::mean)));
  EXPECT_TRUE(std::isnan(loss_of({0, 6}, Reduction::mean)));
  EXPECT_TRUE(std::isnan(loss_of({0, -1}, Reduction::sum)));
}

}  // namespace
}  // namespace reckon::testing
