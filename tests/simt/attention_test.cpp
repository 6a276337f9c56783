// The attention kernels beyond the declared cases: widths and lengths on both sides of their tiles, every
// broadcast of the bias, causal and grouped heads, rows without any key; on operands that are permuted
// views, as model code makes them.
#include "ops/attention/attention_attrs.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/cast/cast.h"
#include "ops/op.h"
#include "simt/backend.h"
#include "tests/gpu/smallest_shapes.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

using Values = std::vector<double>;

std::unique_ptr<Device> gpu() {
  return std::make_unique<Device>(DeviceKind::cuda, simt::spec(), DeviceOptions{}, simt::make_backend());
}

struct Problem {
  int64_t B, N, H, Hkv, Lq, Lk, D;
  bool causal = false;
  bool masked = false;
  Shape bias{};  // of rank 0: none
  bool bias_f32 = false;
  double mask_value = -30.0;
};

std::string describe(const Problem& p, DType t) {
  return fmt::format("B{} N{} H{}/{} Lq{} Lk{} D{} {}{} bias {}{} {}", p.B, p.N, p.H, p.Hkv, p.Lq, p.Lk, p.D,
                     p.causal ? "causal " : "", p.masked ? "masked" : "", to_string(p.bias),
                     p.bias_f32 ? " in f32" : "", name_of(t));
}

Tensor drawn(Device& device, const Shape& shape, DType t, uint64_t seed,
             ops::InputKind kind = ops::InputKind::normal) {
  return make_inputs(device, {.name = "", .inputs = {{.shape = shape, .kind = kind}}}, t, seed)[0];
}

// q, k, v, key_mask, bias with the same values for every type.
TensorList operands(Device& device, const Problem& p, DType t) {
  const DType exact = t == DType::f64 ? DType::f64 : DType::f32;
  const Dims split{0, 1, 3, 2, 4};
  TensorList in;
  in.push_back(drawn(device, {p.B, p.N, p.Lq, p.H, p.D}, t, 1).permuted(split));
  in.push_back(drawn(device, {p.B, p.N, p.Lk, p.Hkv, p.D}, t, 2).permuted(split));
  in.push_back(drawn(device, {p.B, p.N, p.Lk, p.Hkv, p.D}, t, 3).permuted(split));
  in.push_back(p.masked ? drawn(device, {p.B, p.N, p.Lk}, exact, 4, ops::InputKind::mask01) : Tensor{});
  in.push_back(p.bias.rank() > 0 ? drawn(device, p.bias, p.bias_f32 ? exact : t, 5) : Tensor{});
  return in;
}

ops::AttentionAttrs attributes(const Problem& p) {
  return {1.0 / std::sqrt(static_cast<double>(p.D)), p.causal, p.mask_value};
}

double largest(const Values& v) {
  double x = 0;
  for (double e : v) x = std::max(x, std::fabs(e));
  return x;
}

// Against the largest element, or against 0.1 where all are smaller: with one key the
// gradients of the logits vanish.
double gradient_error(const Tensor& got, const Tensor& want) {
  const Values expected = to_doubles(want);
  const double unit = std::max(largest(expected), 1e-30);
  return relative_error(to_doubles(got), expected) * unit / std::max(unit, 0.1);
}

// The tensor cores' maximum may lag behind that of the CPU; what counts is its sum with the logarithm.
Values logsumexp(const Tensor& statistics) {
  const Values both = to_doubles(statistics);
  Values sum(both.begin(), both.begin() + static_cast<std::ptrdiff_t>(both.size() / 2));
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += both[sum.size() + i];
  return sum;
}

TensorList forward(Device& device, const Problem& p, DType t) {
  return ops::dispatch(ops::op_by_name("attention"), operands(device, p, t),
                       std::make_shared<ops::AttentionAttrs>(attributes(p)));
}

void expect_forward(const Problem& p, DType t) {
  SCOPED_TRACE(describe(p, t));
  const auto device = gpu(), cpu = make_device(DeviceKind::cpu);
  const TensorList got = forward(*device, p, t), want = forward(*cpu, p, DType::f64);
  const double limit = tolerance(t) * (t == DType::f32 && p.D > 100 ? 2.0 : 1.0);
  EXPECT_LE(relative_error(to_doubles(got[0]), to_doubles(want[0])), limit);
  EXPECT_LE(relative_error(logsumexp(got[1]), logsumexp(want[1])), limit) << "logsumexp";
}

// Which gradients are asked for.
struct Wanted {
  bool q = true, k = true, v = true, bias = true;
};

Tensor from_doubles(Device& device, const Shape& shape, DType t, const Values& v) {
  static const auto cpu = make_device(DeviceKind::cpu, 1);
  const Tensor exact = Tensor::from_host(*cpu, shape, DType::f64, v.data(), v.size() * sizeof(double),
                                         Category::input, "values");
  const std::vector<std::byte> bytes = ops::cast(exact, t).to_host();
  return Tensor::from_host(device, shape, t, bytes.data(), bytes.size(), Category::input, "values");
}

// The gradients wanted, in the axes of what they belong to; the output and row statistics are
// those of the f64 forward pass.
TensorList backward(Device& device, const Problem& p, DType t, const Wanted& w) {
  static const auto cpu = make_device(DeviceKind::cpu);
  const TensorList in = operands(device, p, t), exact = forward(*cpu, p, DType::f64);
  auto attrs =
      std::make_shared<ops::AttentionBackwardAttrs>(attributes(p), w.q, w.k, w.v, w.bias && p.bias.rank() > 0);
  const int merged[5] = {0, 1, 3, 2, 4};  // as projections lie
  for (auto* axes : {&attrs->q_axes, &attrs->k_axes, &attrs->v_axes}) std::copy(merged, merged + 5, *axes);
  const Tensor g = drawn(device, {p.B, p.N, p.Lq, p.H, p.D}, t, 6);
  const DType statistics = t == DType::f64 ? DType::f64 : DType::f32;
  return ops::dispatch(
      ops::op_by_name("attention_backward"),
      TensorList{g, in[0], in[1], in[2], in[3], in[4], from_doubles(device, g.shape(), t, to_doubles(exact[0])),
                 from_doubles(device, exact[1].shape(), statistics, to_doubles(exact[1]))},
      attrs);
}

void expect_backward(const Problem& p, DType t, const Wanted& w = {}) {
  SCOPED_TRACE(describe(p, t) + fmt::format(" q{} k{} v{} bias{}", w.q, w.k, w.v, w.bias));
  const auto device = gpu(), cpu = make_device(DeviceKind::cpu);
  const TensorList got = backward(*device, p, t, w), want = backward(*cpu, p, DType::f64, w);
  ASSERT_EQ(got.size(), want.size());
  const double limit =
      tolerance(t) * (t == DType::f32 ? 2.0 : 1.0);  // of statistics and output, rounded, beside the sums
  for (size_t i = 0; i < got.size(); ++i) EXPECT_LE(gradient_error(got[i], want[i]), limit) << "gradient " << i;
}

constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::f16};

const int64_t kLong = smallest_shapes() ? 66 : 139, kOdd = smallest_shapes() ? 67 : 131,
              kMany = smallest_shapes() ? 2 : 66;

TEST(AttentionKernels, TakeEveryWidth) {
  for (int64_t D : {1, 8, 17, 24, 32, 64, 72, 128, 192, 256})
    for (DType t : kTypes) expect_forward({1, 1, 2, 1, 70, kOdd, D, true, true, {1, 1, 2, 70, kOdd}}, t);
}

TEST(AttentionKernels, TakeLengthsOnBothSidesOfTheTiles) {
  for (int64_t Lq : {1, 16, 63, 65})
    for (int64_t Lk : {1, 32, 33, 64, 129})
      expect_forward({1, 2, 1, 1, Lq, Lk, 16, false, true, {1, 1, 1, Lq, Lk}}, DType::bf16);
}

TEST(AttentionKernels, TakeEveryBroadcastOfTheBiasInEitherType) {
  for (DType t : kTypes)
    for (int64_t Lk : {int64_t{72}, kOdd})
      for (bool f32 : {false, true})
        for (int64_t b : {1, 2})
          for (int64_t n : {1, 2})
            expect_forward({2, 2, 2, 2, 20, Lk, 32, false, false, {b, n, 2, 20, Lk}, f32}, t);
}

TEST(AttentionKernels, HideLaterKeysWithGroupedHeads) {
  for (DType t : kTypes)
    for (auto [Lq, Lk] : {std::pair<int64_t, int64_t>{kLong, kLong}, {1, 40}, {70, kLong}, {64, 65}})
      for (int64_t D : {32, 64}) expect_forward({2, 1, 4, 2, Lq, Lk, D, true}, t);
}

// Enough heads that a warp takes 32 queries.
TEST(AttentionKernels, TakeTwoTilesAWarpWhenThereAreManyBlocks) {
  for (int64_t D : {32, 128})
    expect_forward({1, kMany, 4, 4, 66, 24, D, false, D == 32, {1, 1, 4, 66, 24}}, DType::bf16);
}

TEST(AttentionKernels, MixedTypesRunInF32) {
  const auto device = gpu(), cpu = make_device(DeviceKind::cpu);
  const Problem p{1, 2, 2, 2, 20, 70, 16, false, true, {1, 1, 2, 20, 70}};
  TensorList in = operands(*device, p, DType::bf16);
  in[1] = operands(*device, p, DType::f32)[1];
  const TensorList got =
      ops::dispatch(ops::op_by_name("attention"), in, std::make_shared<ops::AttentionAttrs>(attributes(p)));
  EXPECT_EQ(got[0].dtype(), DType::bf16);
  // The result's rounding alone.
  EXPECT_LE(relative_error(to_doubles(got[0]), to_doubles(forward(*cpu, p, DType::f64)[0])), 4e-3);
}

// As on the CPU: the mask's value swallows the logits, and the row is uniform.
TEST(AttentionKernels, RowsWithoutAnyKeyAreUniform) {
  for (DType t : kTypes)
    for (bool biased : {false, true}) {
      Problem p{1, 2, 2, 2, 70, kOdd, 32, false, true, biased ? Shape{1, 1, 2, 70, kOdd} : Shape{}};
      p.mask_value = -1e9;
      SCOPED_TRACE(describe(p, t));
      const auto device = gpu(), cpu = make_device(DeviceKind::cpu);
      TensorList results[2];
      for (int i = 0; i < 2; ++i) {
        Device& where = i == 0 ? *device : *cpu;
        TensorList in = operands(where, p, t);
        std::vector<float> keep(static_cast<size_t>(2 * p.Lk), 0.0f);
        for (size_t j = 0; j < static_cast<size_t>(p.Lk); ++j)
          keep[j] = 1.0f;  // the first row keeps all, the second none
        in[3] = Tensor::from_host(where, {1, 2, p.Lk}, DType::f32, keep.data(), keep.size() * 4,
                                  Category::input, "mask");
        results[i] = ops::dispatch(ops::op_by_name("attention"), in,
                                   std::make_shared<ops::AttentionAttrs>(attributes(p)));
      }
      EXPECT_LE(relative_error(to_doubles(results[0][0]), to_doubles(results[1][0])), tolerance(t));
      const Values got = logsumexp(results[0][1]), want = logsumexp(results[1][1]);
      for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-5) << i;
    }
}

// A row that sees minus infinity alone is undefined on both; its neighbours are not touched by it.
TEST(AttentionKernels, RowsOfMinusInfinityStayAmongThemselves) {
  const int64_t Lq = 20, Lk = 100;
  for (DType t : kTypes) {
    const Problem p{1, 1, 1, 1, Lq, Lk, 16, false, false, {1, 1, 1, Lq, Lk}, true};
    const auto device = gpu(), cpu = make_device(DeviceKind::cpu);
    TensorList results[2];
    for (int i = 0; i < 2; ++i) {
      Device& where = i == 0 ? *device : *cpu;
      TensorList in = operands(where, p, t);
      std::vector<float> bias(static_cast<size_t>(Lq * Lk), 0.0f);
      for (size_t j = 0; j < static_cast<size_t>(Lk); ++j) {
        bias[3 * static_cast<size_t>(Lk) + j] = -INFINITY;
        bias[4 * static_cast<size_t>(Lk) + j] = j < 70 ? -INFINITY : 1.0f;
        bias[5 * static_cast<size_t>(Lk) + j] = j == 90 ? 3e4f : -1e6f;
      }
      in[4] =
          Tensor::from_host(where, p.bias, DType::f32, bias.data(), bias.size() * 4, Category::input, "bias");
      results[i] =
          ops::dispatch(ops::op_by_name("attention"), in, std::make_shared<ops::AttentionAttrs>(attributes(p)));
    }
    const Values got = to_doubles(results[0][0]), want = to_doubles(results[1][0]);
    for (size_t i = 0; i < got.size(); ++i) {
      if (i / 16 == 3)
        EXPECT_TRUE(std::isnan(got[i]) && std::isnan(want[i]));
      else
        EXPECT_NEAR(got[i], want[i], 4 * tolerance(t)) << i;
    }
    EXPECT_EQ(logsumexp(results[0][1])[3], -INFINITY);
  }
}

TEST(AttentionKernels, GiveGradientsAtEveryWidth) {
  for (int64_t D : {1, 8, 17, 24, 32, 64, 72, 128, 192, 256})
    for (DType t : kTypes)
      if (t != DType::f16 || D % 64 == 0)
        expect_backward({1, 2, 1, 1, 70, 75, D, true, true, {1, 1, 1, 70, 75}}, t);
}

TEST(AttentionKernels, GiveGradientsOnBothSidesOfTheTiles) {
  for (int64_t Lq : {1, 16, 63, 65})
    for (int64_t Lk : {1, 32, 33, 64, 129})
      expect_backward({1, 2, 1, 1, Lq, Lk, 16, false, true, {1, 1, 1, Lq, Lk}}, DType::bf16);
}

TEST(AttentionKernels, GiveGradientsForEveryBroadcastOfTheBias) {
  for (DType t : kTypes)
    for (int64_t Lk : {72, 75})
      for (bool f32 : {false, true})
        for (int64_t b : {1, 2})
          for (int64_t n : {1, 3})
            expect_backward({2, 3, 1, 1, 20, Lk, 16, t == DType::f16, false, {b, n, 1, 20, Lk}, f32}, t);
}

TEST(AttentionKernels, GiveEachGradientAlone) {
  for (DType t : {DType::f32, DType::bf16})
    for (int64_t n : {1, 2})
      for (int wanted = 1; wanted < 16; ++wanted)
        expect_backward({1, 2, 2, 1, 33, 40, 16, true, true, {1, n, 2, 33, 40}}, t,
                        {(wanted & 1) != 0, (wanted & 2) != 0, (wanted & 4) != 0, (wanted & 8) != 0});
}

TEST(AttentionKernels, SumTheGradientsOfGroupedHeads) {
  for (DType t : kTypes)
    for (auto [Lq, Lk] : {std::pair<int64_t, int64_t>{kOdd, kOdd}, {1, 40}, {66, kOdd}})
      expect_backward({1, 1, 4, 2, Lq, Lk, t == DType::bf16 ? 64 : 32, true}, t);
}

TEST(AttentionKernels, GiveGradientsFromTwoTilesAWarp) {
  for (int64_t D : {32, 64}) {
    expect_backward({1, kMany, 4, 4, 66, 24, D, false, true, {1, kMany, 4, 66, 24}}, DType::bf16,
                    {true, false, false, true});
    expect_backward({1, kMany, 4, 4, 24, 66, D, true, false, {1, 1, 4, 24, 66}}, DType::f16,
                    {false, true, true, false});
  }
}

// Enough rows for several ranges of them, and tiles of the bias that no query sees.
TEST(AttentionKernels, SumTheBiasOverRangesOfRows) {
  for (DType t : kTypes) {
    expect_backward({2, 7, 1, 1, 40, 36, 16, false, true, {1, 1, 1, 40, 36}}, t, {false, false, false, true});
    expect_backward({2, 8, 1, 1, 130, 136, 16, true, false, {2, 1, 1, 130, 136}}, t,
                    {false, false, false, true});
    expect_backward({8, 2, 1, 1, 20, 35, 128, false, false, {1, 2, 1, 20, 35}}, t, {false, false, false, true});
  }
}

TEST(AttentionKernels, GradientsRepeatTheirBits) {
  const auto device = gpu();
  const Problem p{1, 9, 4, 2, 70, 75, 32, false, true, {1, 1, 4, 70, 75}};
  const TensorList first = backward(*device, p, DType::bf16, {}),
                   second = backward(*device, p, DType::bf16, {});
  for (size_t i = 0; i < first.size(); ++i) EXPECT_EQ(first[i].to_host(), second[i].to_host());
}

// A row without any key shares its gradient over all of them, as on the CPU.
TEST(AttentionKernels, GradientsOfRowsWithoutAnyKeyAreThoseOfTheCpu) {
  for (DType t : kTypes)
    for (int64_t n : {1, 2}) {
      Problem p{1, 2, 2, 2, 70, 75, 32, false, true, {1, n, 2, 70, 75}};
      p.mask_value = -1e9;
      SCOPED_TRACE(describe(p, t));
      const auto device = gpu(), cpu = make_device(DeviceKind::cpu);
      TensorList results[2];
      for (int i = 0; i < 2; ++i) {
        Device& where = i == 0 ? *device : *cpu;
        TensorList in = operands(where, p, t);
        std::vector<float> keep(static_cast<size_t>(2 * p.Lk), 0.0f);
        for (size_t j = 0; j < static_cast<size_t>(p.Lk); ++j) keep[j] = 1.0f;
        in[3] = Tensor::from_host(where, {1, 2, p.Lk}, DType::f32, keep.data(), keep.size() * 4,
                                  Category::input, "mask");
        const TensorList out = ops::dispatch(ops::op_by_name("attention"), in,
                                             std::make_shared<ops::AttentionAttrs>(attributes(p)));
        const Tensor g = drawn(where, out[0].shape(), t, 6);
        results[i] =
            ops::dispatch(ops::op_by_name("attention_backward"),
                          TensorList{g, in[0], in[1], in[2], in[3], in[4], out[0], out[1]},
                          std::make_shared<ops::AttentionBackwardAttrs>(attributes(p), true, true, true, true));
      }
      for (size_t i = 0; i < results[0].size(); ++i)
        EXPECT_LE(gradient_error(results[0][i], results[1][i]), 2 * tolerance(t)) << "gradient " << i;
    }
}

// With q = 0 and a gradient of ones dv is the sum of the weights: closed values, in both kinds of kernels.
TEST(AttentionKernels, ShareTheGradientOverTheKeysOfAMaskedRow) {
  const auto device = gpu();
  for (DType t : kTypes)
    for (int64_t D : {8, 64})
      for (bool causal : {false, true})
        for (double value : {-1e4, -1e9}) {
          const int64_t L = 70, masked = 66, H = 2;
          SCOPED_TRACE(fmt::format("{} D {} causal {} value {}", name_of(t), D, causal, value));
          const Tensor q =
              from_doubles(*device, {1, 1, H, L, D}, t, Values(static_cast<size_t>(H * L * D), 0.0));
          const Tensor k = drawn(*device, {1, 1, 1, L, D}, t, 2), v = drawn(*device, {1, 1, 1, L, D}, t, 3);
          std::vector<float> keep(static_cast<size_t>(L), 1.0f);
          std::fill_n(keep.begin(), causal ? masked : L, 0.0f);
          const Tensor mask = Tensor::from_host(*device, {1, 1, L}, DType::f32, keep.data(), keep.size() * 4,
                                                Category::input, "mask");
          const ops::AttentionAttrs attrs(0.3, causal, value);
          const TensorList out = ops::dispatch(ops::op_by_name("attention"),
                                               TensorList{
                                                   q,
                                                   k,
                                                   v,
                                                   mask,
                                                   {},
                                               },
                                               std::make_shared<ops::AttentionAttrs>(attrs));
          const Tensor g =
              from_doubles(*device, out[0].shape(), t, Values(static_cast<size_t>(out[0].numel()), 1.0));
          const TensorList got = ops::dispatch(
              ops::op_by_name("attention_backward"), TensorList{g, q, k, v, mask, {}, out[0], out[1]},
              std::make_shared<ops::AttentionBackwardAttrs>(attrs, true, true, true, false));
          Values weight(static_cast<size_t>(L), 0.0);
          for (int64_t i = 0; i < L; ++i) {
            const int64_t seen = causal ? i + 1 : L, first = causal && masked < seen ? masked : 0;
            for (int64_t j = first; j < seen; ++j)
              weight[static_cast<size_t>(j)] += static_cast<double>(H) / static_cast<double>(seen - first);
          }
          const Values dv = to_doubles(got[2]);
          for (size_t i = 0; i < dv.size(); ++i) {
            const double want = weight[i / static_cast<size_t>(D)];
            EXPECT_NEAR(dv[i], want, tolerance(t) * want) << i;
          }
        }
}

}  // namespace
}  // namespace reckon::testing
