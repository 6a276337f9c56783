// Fused attention against the formula in f64, written here on its own, and against the eager chain of ops.
#include "ops/attention/attention.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/engine.h"
#include "autograd/node.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/kernel/cpu/isa.h"
#include "ops/matmul/matmul.h"
#include "ops/view/view.h"
#include "tests/support/event_log.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

using ops::attention;
using ops::AttentionOptions;
using ops::cpu_isa_level;
using ops::IsaLevel;
using Values = std::vector<double>;

Tensor random_tensor(Device& device, const Shape& shape, DType t, uint64_t seed,
                     ops::InputKind kind = ops::InputKind::normal) {
  return make_inputs(device, {.name = "", .inputs = {{.shape = shape, .kind = kind}}}, t, seed)[0];
}

// Against the largest element, or against 1 where all are small: with one key, the
// gradients of the logits vanish.
double error(const Values& got, const Values& want) {
  double largest = 2;
  for (double v : want) largest = std::max(largest, std::fabs(v));
  double worst = got.size() == want.size() ? 0 : INFINITY;
  for (size_t i = 0; i < want.size(); ++i)
    worst = std::fabs(got[i] - want[i]) <= worst ? worst : std::fabs(got[i] - want[i]);
  return worst / largest;
}

struct Extents {
  int64_t B, N, H, Hkv, Lq, Lk, D;
};

// Gradients of sum(o g) by the textbook formulas on a full score matrix of one head at a time.
struct Expected {
  Values o, dq, dk, dv, dbias;
};

Expected formula(const Extents& e, const Values& q, const Values& k, const Values& v, const Values& mask,
                 const Values& bias, const Shape& bias_shape, const Values& g, const AttentionOptions& a) {
  Expected r{Values(g.size()), Values(q.size()), Values(k.size()), Values(v.size()), Values(bias.size())};
  const auto query = [&](int64_t b, int64_t n, int64_t h, int64_t i) {
    return (((b * e.N + n) * e.H + h) * e.Lq + i) * e.D;
  };
  const auto key = [&](int64_t b, int64_t n, int64_t h, int64_t j) {
    return (((b * e.N + n) * e.Hkv + h / (e.H / e.Hkv)) * e.Lk + j) * e.D;
  };
  const auto out = [&](int64_t b, int64_t n, int64_t h, int64_t i) {
    return (((b * e.N + n) * e.Lq + i) * e.H + h) * e.D;
  };
  const auto pair = [&](int64_t b, int64_t n, int64_t h, int64_t i) {
    const int64_t bb = bias_shape[0] == 1 ? 0 : b, bn = bias_shape[1] == 1 ? 0 : n;
    return (((bb * bias_shape[1] + bn) * e.H + h) * e.Lq + i) * e.Lk;
  };
  for (int64_t b = 0; b < e.B; ++b)
    for (int64_t n = 0; n < e.N; ++n)
      for (int64_t h = 0; h < e.H; ++h)
        for (int64_t i = 0; i < e.Lq; ++i) {
          Values p(static_cast<size_t>(e.Lk)), dp(p.size());
          double top = -INFINITY, sum = 0, delta = 0;
          const int64_t seen = a.causal ? i + e.Lk - e.Lq + 1 : e.Lk;
          for (int64_t j = 0; j < seen; ++j) {
            double x = 0;
            for (int64_t d = 0; d < e.D; ++d) x += q[query(b, n, h, i) + d] * k[key(b, n, h, j) + d];
            x *= a.scale;
            if (!mask.empty()) x += (1 - mask[(b * e.N + n) * e.Lk + j]) * a.mask_value;
            if (!bias.empty()) x += bias[pair(b, n, h, i) + j];
            p[j] = x;
            top = std::max(top, x);
          }
          for (int64_t j = 0; j < seen; ++j) sum += p[j] = std::exp(p[j] - top);
          for (int64_t j = 0; j < seen; ++j) {
            p[j] /= sum;
            for (int64_t d = 0; d < e.D; ++d) {
              const double go = g[out(b, n, h, i) + d];
              r.o[out(b, n, h, i) + d] += p[j] * v[key(b, n, h, j) + d];
              r.dv[key(b, n, h, j) + d] += p[j] * go;
              dp[j] += go * v[key(b, n, h, j) + d];
            }
            delta += p[j] * dp[j];
          }
          for (int64_t j = 0; j < seen; ++j) {
            const double ds = p[j] * (dp[j] - delta);
            if (!bias.empty()) r.dbias[pair(b, n, h, i) + j] += ds;
            for (int64_t d = 0; d < e.D; ++d) {
              r.dq[query(b, n, h, i) + d] += a.scale * ds * k[key(b, n, h, j) + d];
              r.dk[key(b, n, h, j) + d] += a.scale * ds * q[query(b, n, h, i) + d];
            }
          }
        }
  return r;
}

// Runs forward and backward on operands that are permuted views of [B, N, L, H, D], as model code makes them.
void expect_formula_at(int isa_level, const Extents& e, bool masked, const Shape& bias_shape, bool causal,
                       DType type, double tolerance_scale) {
  SCOPED_TRACE(fmt::format("B{} N{} H{}/{} Lq{} Lk{} D{} mask {} bias {} causal {} {} level {}", e.B, e.N, e.H,
                           e.Hkv, e.Lq, e.Lk, e.D, masked, to_string(bias_shape), causal, name_of(type),
                           isa_level));
  auto device = make_device(DeviceKind::cpu, 2, isa_level);
  const auto operand = [&](int64_t heads, int64_t length, uint64_t seed) {
    Tensor t = random_tensor(*device, {e.B, e.N, length, heads, e.D}, type, seed);
    autograd::set_requires_grad(t);
    return t;
  };
  Tensor q = operand(e.H, e.Lq, 1), k = operand(e.Hkv, e.Lk, 2), v = operand(e.Hkv, e.Lk, 3), bias, mask;
  if (masked)
    mask = random_tensor(*device, {e.B, e.N, e.Lk}, type == DType::f64 ? type : DType::f32, 4,
                         ops::InputKind::mask01);
  if (bias_shape.rank() > 0) {
    bias = random_tensor(*device, bias_shape, type, 5);
    autograd::set_requires_grad(bias);
  }
  const Tensor g = random_tensor(*device, {e.B, e.N, e.Lq, e.H, e.D}, type, 6);
  const Dims split{0, 1, 3, 2, 4};
  const AttentionOptions options{.scale = 0.4, .causal = causal, .mask_value = -1e9};
  const Tensor o =
      attention(ops::permute(q, split), ops::permute(k, split), ops::permute(v, split), mask, bias, options);
  EXPECT_EQ(o.shape(), (Shape{e.B, e.N, e.Lq, e.H, e.D}));
  EXPECT_TRUE(o.contiguous());
  EXPECT_EQ(o.dtype(), type);
  const TensorList roots{o}, seeds{g};
  autograd::backward(roots, seeds);
  const Expected want =
      formula(e, to_doubles(q.permuted(split)), to_doubles(k.permuted(split)), to_doubles(v.permuted(split)),
              masked ? to_doubles(mask) : Values{}, bias.defined() ? to_doubles(bias) : Values{}, bias_shape,
              to_doubles(g), options);
  const double limit = tolerance(type) * tolerance_scale;
  EXPECT_LE(error(to_doubles(o), want.o), limit);
  EXPECT_LE(error(to_doubles(autograd::grad_of(q).permuted(split)), want.dq), limit) << "dq";
  EXPECT_LE(error(to_doubles(autograd::grad_of(k).permuted(split)), want.dk), limit) << "dk";
  EXPECT_LE(error(to_doubles(autograd::grad_of(v).permuted(split)), want.dv), limit) << "dv";
  if (bias.defined()) {
    EXPECT_LE(error(to_doubles(autograd::grad_of(bias)), want.dbias), limit) << "dbias";
  }
}

// At the machine's best level; bf16 also at the one below AMX, whose kernels share nothing but the loops.
void expect_formula(const Extents& e, bool masked, const Shape& bias_shape, bool causal, DType type,
                    double tolerance_scale = 1.0) {
  const int best = static_cast<int>(cpu_isa_level()), below_amx = static_cast<int>(IsaLevel::v4);
  expect_formula_at(best, e, masked, bias_shape, causal, type, tolerance_scale);
  if (best > below_amx && type == DType::bf16)
    expect_formula_at(below_amx, e, masked, bias_shape, causal, type, tolerance_scale);
}

TEST(Attention, AgreesWithTheFormulaForEveryBroadcastOfMaskAndBias) {
  const Extents e{2, 3, 2, 2, 37, 71, 12};
  for (DType t : {DType::f64, DType::f32, DType::bf16, DType::f16})
    for (bool masked : {false, true}) {
      expect_formula(e, masked, {}, false, t);
      for (int64_t bb : {int64_t{1}, e.B})
        for (int64_t bn : {int64_t{1}, e.N}) expect_formula(e, masked, {bb, bn, e.H, e.Lq, e.Lk}, false, t);
    }
}

TEST(Attention, AgreesWithTheFormulaAtOddSizesOnBothSidesOfTheTiles) {
  for (int64_t Lq : {1, 63, 64, 65, 130})
    for (int64_t Lk : {1, 64, 129})
      for (DType t : {DType::f32, DType::bf16})
        expect_formula({1, 2, 1, 1, Lq, Lk, 19}, true, {1, 1, 1, Lq, Lk}, false, t);
  for (int64_t D : {1, 15, 16, 32, 33, 64, 100, 256})
    for (DType t : {DType::f32, DType::bf16})
      expect_formula({1, 1, 2, 1, 20, 70, D}, false, {}, false, t, D > 200 ? 2.0 : 1.0);
}

// Enough heads for the backward pass that sums dq beside dk and dv.
TEST(Attention, AgreesWithTheFormulaInOnePass) {
  for (int64_t Lq : {5, 48, 64, 81})
    for (int64_t Lk : {7, 32, 64, 90})
      for (int64_t D : {8, 32})
        for (DType t : {DType::f32, DType::bf16})
          expect_formula({1, 5, 4, 4, Lq, Lk, D}, true, {1, 1, 4, Lq, Lk}, false, t);
}

TEST(Attention, CausalQueriesSeeTheKeysBeforeThemAlsoWhenThereAreMoreKeys) {
  for (auto [Lq, Lk] : {std::pair{65, 65}, {1, 40}, {70, 200}, {128, 131}})
    for (DType t : {DType::f64, DType::f32, DType::bf16}) {
      expect_formula({2, 1, 4, 2, Lq, Lk, 8}, false, {}, true, t);
      expect_formula({1, 2, 2, 1, Lq, Lk, 8}, false, {1, 1, 2, Lq, Lk}, true, t);
    }
}

TEST(Attention, GroupedQueriesSumTheirGradientsIntoTheSharedHead) {
  expect_formula({2, 1, 14, 2, 66, 66, 16}, false, {}, true, DType::f32);
  expect_formula({1, 2, 6, 1, 20, 33, 16}, true, {}, false, DType::f32);
}

TEST(Attention, RowsWithoutAnyKeyAreUniformInF32) {
  auto device = make_device(DeviceKind::cpu);
  for (int64_t L : {5, 200}) {
    const Tensor q = random_tensor(*device, {1, 2, 1, 3, 8}, DType::f32, 1);
    const Tensor k = random_tensor(*device, {1, 2, 1, L, 8}, DType::f32, 2),
                 v = random_tensor(*device, {1, 2, 1, L, 8}, DType::f32, 3);
    std::vector<float> keep(static_cast<size_t>(2 * L), 0.0f);
    for (size_t j = static_cast<size_t>(L); j < keep.size(); ++j) keep[j] = 1.0f;  // the second row keeps all
    const Tensor mask = Tensor::from_host(*device, {1, 2, L}, DType::f32, keep.data(), keep.size() * 4,
                                          Category::input, "mask");
    const Values o = to_doubles(attention(q, k, v, mask, {}, {.scale = 1.0})), values = to_doubles(v);
    for (int64_t d = 0; d < 8; ++d) {
      double mean = 0;
      for (int64_t j = 0; j < L; ++j) mean += values[static_cast<size_t>(j * 8 + d)] / static_cast<double>(L);
      for (int64_t i = 0; i < 3; ++i) EXPECT_NEAR(o[static_cast<size_t>(i * 8 + d)], mean, 1e-6);
    }
    const Values open = to_doubles(attention(q, k, v, {}, {}, {.scale = 1.0}));
    for (size_t i = 24; i < 48; ++i) EXPECT_EQ(o[i], open[i]);
  }
}

TEST(Attention, LargeLogitsAndRowsWhoseFirstTilesAreInfinitelyNegativeStayFinite) {
  auto device = make_device(DeviceKind::cpu);
  const int64_t L = 200;
  const Tensor q = random_tensor(*device, {1, 1, 1, 4, 8}, DType::f32, 1),
               k = random_tensor(*device, {1, 1, 1, L, 8}, DType::f32, 2);
  const Tensor v = random_tensor(*device, {1, 1, 1, L, 8}, DType::f32, 3);
  std::vector<float> bias(4 * L, -INFINITY);
  for (size_t i = 0; i < 4; ++i) bias[i * L + 150 + i] = 3e4f;
  const Tensor b = Tensor::from_host(*device, {1, 1, 1, 4, L}, DType::f32, bias.data(), bias.size() * 4,
                                     Category::input, "bias");
  const Values o = to_doubles(attention(q, k, v, {}, b, {.scale = 100.0})), values = to_doubles(v);
  for (size_t i = 0; i < 4; ++i)
    for (size_t d = 0; d < 8; ++d) EXPECT_EQ(o[i * 8 + d], values[(150 + i) * 8 + d]);
}

TEST(Attention, WorkspaceDoesNotGrowWithTheLength) {
  const auto workspace = [](int64_t L) {
    EventLog log;  // outlives the tensors it hears of
    auto device = make_device(DeviceKind::meta, 2);
    device->add_sink(&log);
    const auto t = [&](const Shape& s) { return Tensor::empty(*device, s, DType::bf16); };
    (void)attention(t({1, 1, 2, L, 32}), t({1, 1, 2, L, 32}), t({1, 1, 2, L, 32}), {}, {}, {});
    int64_t bytes = 0;
    for (const Event& e : log.events)
      if (e.kind == EventKind::allocated && e.category == Category::workspace) bytes += e.bytes;
    return bytes;
  };
  EXPECT_GT(workspace(64), 0);
  EXPECT_EQ(workspace(64), workspace(4096));
}

TEST(Attention, BackwardHoldsNothingOfTheScoresSize) {
  EventLog log;  // outlives the tensors it hears of
  auto device = make_device(DeviceKind::meta, 2);
  const int64_t L = 2048;
  Tensor q = Tensor::empty(*device, {1, 1, 2, L, 16}, DType::f32);
  autograd::set_requires_grad(q);
  const TensorList roots{attention(q, q, q, {}, {}, {})},
      seeds{Tensor::empty(*device, roots[0].shape(), DType::f32)};
  device->add_sink(&log);
  autograd::backward(roots, seeds);
  for (const Event& e : log.events)
    if (e.kind == EventKind::allocated) {
      EXPECT_LT(e.bytes, L * L) << name_of(e.label);
    }
}

TEST(Attention, KeepsInputsOutputAndTwoFloatsPerRow) {
  auto device = make_device(DeviceKind::meta, 2);
  const int64_t L = 100;
  const auto t = [&](const Shape& s, DType type = DType::bf16) { return Tensor::empty(*device, s, type); };
  const TensorList in{t({2, 3, 4, L, 16}), t({2, 3, 4, L, 16}), t({2, 3, 4, L, 16}), t({2, 3, L}, DType::f32),
                      t({1, 1, 4, L, L})};
  const ops::OpDef& op = ops::op_by_name("attention");
  const ops::Plan p = ops::plan_of(op, in, op.cases()[1].attrs, device->spec(), ~0u);
  size_t kept = 0;
  for (const auto& ref : p.saves) {
    const auto i = static_cast<size_t>(ref.index);
    kept += ref.output ? static_cast<size_t>(numel(p.outputs[i].shape)) * size_of(p.outputs[i].dtype)
                       : in[i].bytes();
  }
  const size_t x = 2 * 3 * 4 * 100 * 16 * 2, rows = 2 * 2 * 3 * 4 * 100 * 4, mask = 2 * 3 * 100 * 4,
               pair = 4 * 100 * 100 * 2;
  EXPECT_EQ(kept, 4 * x + rows + mask + pair);
  EXPECT_EQ(p.cost.matmul_flops, 4 * (2 * 3 * 4 * 100 * 100) * 16);
}

TEST(Attention, CausalCountsThePairsThatAreVisible) {
  EventLog log;  // outlives the tensors it hears of
  auto device = make_device(DeviceKind::meta, 2);
  device->add_sink(&log);
  const auto t = [&](int64_t L) { return Tensor::empty(*device, {1, 1, 2, L, 4}, DType::f32); };
  (void)attention(t(3), t(5), t(5), {}, {}, {.causal = true});  // 3 + 4 + 5 keys
  int64_t flops = 0;
  for (const Event& e : log.events) flops += e.cost.matmul_flops;
  EXPECT_EQ(flops, 4 * 2 * 12 * 4);
}

TEST(Attention, GradientsLieAsTheProjectionsDoSoThatMergingHeadsNeedsNoCopy) {
  EventLog log;  // outlives the tensors it hears of
  auto device = make_device(DeviceKind::cpu);
  TensorList heads;
  for (uint64_t i = 0; i < 3; ++i) {
    Tensor x = random_tensor(*device, {2, 3, 10, 8}, DType::f32, i);
    autograd::set_requires_grad(x);
    heads.push_back(ops::permute(ops::reshape(x, {2, 3, 10, 2, 4}), {0, 1, 3, 2, 4}));
  }
  const Tensor o = attention(heads[0], heads[1], heads[2], {}, {}, {.scale = 0.5});
  const TensorList roots{o}, seeds{random_tensor(*device, o.shape(), DType::f32, 2)};
  device->add_sink(&log);
  autograd::backward(roots, seeds);
  for (const Event& e : log.events)
    if (e.kind == EventKind::launched) {
      EXPECT_NE(name_of(e.op), "contiguous");
    }
}

TEST(Attention, BiasGradientIsTheSameBitsInEveryRun) {
  Values first;
  for (int run = 0; run < 4; ++run) {
    auto device = make_device(DeviceKind::cpu, 1 + run % 2);
    Tensor bias = random_tensor(*device, {1, 1, 2, 70, 70}, DType::bf16, 5);
    autograd::set_requires_grad(bias);
    const Tensor q = random_tensor(*device, {2, 9, 2, 70, 8}, DType::bf16, 1);
    const TensorList roots{attention(q, q, q, {}, bias, {.scale = 0.5})};
    const TensorList seeds{random_tensor(*device, roots[0].shape(), DType::bf16, 2)};
    autograd::backward(roots, seeds);
    const Values got = to_doubles(autograd::grad_of(bias));
    if (run == 0)
      first = got;
    else
      EXPECT_EQ(got, first);
  }
}

TEST(Attention, SaysWhatIsWrongWithItsOperands) {
  auto device = make_device(DeviceKind::cpu);
  const auto t = [&](const Shape& s, DType type = DType::f32) { return random_tensor(*device, s, type, 1); };
  const auto message = [&](auto&&... args) -> std::string {
    try {
      attention(args...);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  const Tensor q = t({1, 1, 4, 5, 8});
  const auto says = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos ? "" : text;
  };
  EXPECT_EQ(says(message(q, t({1, 1, 3, 5, 8}), t({1, 1, 3, 5, 8}), Tensor{}, Tensor{}, AttentionOptions{}),
                 "must be a multiple"),
            "");
  EXPECT_EQ(says(message(q, t({1, 1, 4, 3, 8}), t({1, 1, 4, 3, 8}), Tensor{}, Tensor{},
                         AttentionOptions{.causal = true}),
                 "at least as many keys"),
            "");
  EXPECT_EQ(says(message(q, q, t({1, 1, 4, 6, 8}), Tensor{}, Tensor{}, AttentionOptions{}), "attention's v"),
            "");
  EXPECT_EQ(says(message(q, q, q, t({1, 5}), Tensor{}, AttentionOptions{}), "key mask"), "");
  EXPECT_EQ(says(message(q, q, q, Tensor{}, t({4, 5, 5}), AttentionOptions{}), "bias must be"), "");
  EXPECT_EQ(says(message(q, q, q, Tensor{}, t({1, 1, 4, 5, 5}, DType::f64), AttentionOptions{}), "mixes f64"),
            "");
  EXPECT_EQ(says(message(t({1, 1, 1, 2, 257}), t({1, 1, 1, 2, 257}), t({1, 1, 1, 2, 257}), Tensor{}, Tensor{},
                         AttentionOptions{}),
                 "up to 256"),
            "");
}

}  // namespace
}  // namespace reckon::testing
