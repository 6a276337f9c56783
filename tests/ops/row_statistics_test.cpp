// What backward makes of the row statistics that forward kept: a common offset of a row's logits, be it that every
// key is masked, must change no gradient. Closed forms; every type and instruction set.
#include <gtest/gtest.h>

#include <cmath>

#include "ops/attention/attention.h"
#include "ops/cross_entropy/cross_entropy.h"
#include "ops/fill/fill.h"
#include "ops/linear_cross_entropy/linear_cross_entropy.h"
#include "ops/softmax/softmax.h"
#include "ops/sum/sum.h"
#include "runtime/cpu/isa.h"
#include "tests/support/op_values.h"

namespace reckon::testing {
namespace {

using ops::Reduction;

constexpr DType kNarrow[] = {DType::f32, DType::bf16, DType::f16};

template <class F>
void at_every_level(F&& test) {
  for (int level = 0; level <= static_cast<int>(machine_isa_level()); ++level) {
    SCOPED_TRACE(fmt::format("isa {}", level));
    Values v;
    v.device = make_device(DeviceKind::cpu, 2, level);
    test(v);
  }
}

struct Masked {
  int64_t H, Hkv, Lq, Lk;
  bool causal;
  int64_t masked;  // keys [0, masked) of every row
  double mask_value = -1e9;
  int64_t heads_of_batch = 1;  // rows N: 16 heads and more take the kernels of one pass
};

// With q = 0 the weights are uniform over the keys that a query sees and that are not masked, or over all that it
// sees where all of them are. With a gradient of ones dv of key j is the sum over queries of its weights, and the
// gradient of v's sums is one per query and head of the group.
void expect_uniform_weights(const Values& v, const Masked& m, DType t) {
  SCOPED_TRACE(fmt::format("H{}/{} Lq{} Lk{} causal {} masked {} of value {} N{} {}", m.H, m.Hkv, m.Lq, m.Lk,
                           m.causal, m.masked, m.mask_value, m.heads_of_batch, name_of(t)));
  const int64_t D = 8, N = m.heads_of_batch;
  Tensor q = v.leaf(ops::full(*v.device, {1, N, m.H, m.Lq, D}, t, 0)),
         k = v.leaf(v.random({1, N, m.Hkv, m.Lk, D}, t, 2)),
         values = v.leaf(v.random({1, N, m.Hkv, m.Lk, D}, t, 3));
  std::vector<float> keep(static_cast<size_t>(N * m.Lk), 1.0f);
  for (int64_t n = 0; n < N; ++n)
    for (int64_t j = 0; j < m.masked; ++j) keep[static_cast<size_t>(n * m.Lk + j)] = 0.0f;
  const Tensor o = ops::attention(q, k, values, v.f32({1, N, m.Lk}, keep), {},
                                  {.scale = 0.35, .causal = m.causal, .mask_value = m.mask_value});
  autograd::backward(ops::sum_all(o));
  std::vector<double> weight(static_cast<size_t>(m.Lk), 0.0);
  for (int64_t i = 0; i < m.Lq; ++i) {
    const int64_t seen = m.causal ? i + m.Lk - m.Lq + 1 : m.Lk, first = m.masked < seen ? m.masked : 0;
    for (int64_t j = first; j < seen; ++j)
      weight[static_cast<size_t>(j)] += static_cast<double>(m.H / m.Hkv) / static_cast<double>(seen - first);
  }
  const std::vector<double> dv = to_doubles(autograd::grad_of(values));
  for (size_t i = 0; i < dv.size(); ++i) {
    const double want = weight[i / D % static_cast<size_t>(m.Lk)];
    EXPECT_NEAR(dv[i], want, tolerance(t) * std::max(want, 1e-6)) << i;
  }
  // dq = scale sum_j p_j (v_j - mean of v) k_j with 1s for the output's gradient: compared with the plain formula.
  const std::vector<double> kv = to_doubles(k), vv = to_doubles(values), dq = to_doubles(autograd::grad_of(q));
  for (int64_t n = 0; n < N; ++n)
    for (int64_t h = 0; h < m.H; ++h)
      for (int64_t i = 0; i < m.Lq; ++i) {
        const int64_t seen = m.causal ? i + m.Lk - m.Lq + 1 : m.Lk, first = m.masked < seen ? m.masked : 0;
        const int64_t at = (n * m.Hkv + h / (m.H / m.Hkv)) * m.Lk * D;
        const auto sum_of = [&](int64_t j) {
          double s = 0;
          for (int64_t d = 0; d < D; ++d) s += vv[static_cast<size_t>(at + j * D + d)];
          return s;
        };
        double mean = 0;
        for (int64_t j = first; j < seen; ++j) mean += sum_of(j) / static_cast<double>(seen - first);
        for (int64_t d = 0; d < D; ++d) {
          double want = 0;
          for (int64_t j = first; j < seen; ++j)
            want += 0.35 * (sum_of(j) - mean) * kv[static_cast<size_t>(at + j * D + d)] /
                    static_cast<double>(seen - first);
          EXPECT_NEAR(dq[static_cast<size_t>(((n * m.H + h) * m.Lq + i) * D + d)], want, 3 * tolerance(t))
              << n << ' ' << h << ' ' << i << ' ' << d;
        }
      }
}

TEST(RowStatistics, AttentionSharesTheGradientOverTheKeysOfAMaskedRow) {
  at_every_level([](const Values& v) {
    for (DType t : kNarrow)
      for (int64_t n : {1, 2, 4, 63, 100, 1000}) {
        expect_uniform_weights(v, {1, 1, 3, n, false, n}, t);
        expect_uniform_weights(v, {4, 4, 3, n, false, n, -1e9, 4}, t);  // in one pass
      }
  });
}

TEST(RowStatistics, AttentionTakesLeftPaddingUnderCausality) {
  at_every_level([](const Values& v) {
    for (DType t : kNarrow)
      for (double value : {-1e4, -1e9, -3e38})
        for (auto [length, padding] : {std::pair<int64_t, int64_t>{6, 3}, {70, 66}, {130, 1}, {5, 5}})
          for (int64_t rows : {1, 16}) {
            expect_uniform_weights(v, {1, 1, length, length, true, padding, value, rows}, t);
            expect_uniform_weights(v, {4, 2, length, length + 2, true, padding, value, rows}, t);
          }
  });
}

// exp(1e6 + x - lse): the eager chain and PyTorch in f64 give 1 / V.
TEST(RowStatistics, CrossEntropyDoesNotSeeACommonOffset) {
  at_every_level([](const Values& v) {
    for (int64_t V : {7, 1000, 5000})
      for (float offset : {0.0f, 1e3f, -1e5f, 1e6f, 1e7f, 1e30f})
        for (Reduction r : {Reduction::none, Reduction::mean}) {
          SCOPED_TRACE(fmt::format("V {} offset {}", V, offset));
          const Tensor x = v.leaf(ops::full(*v.device, {2, V}, DType::f32, offset));
          const Tensor loss = ops::cross_entropy(x, v.i64({2}, {0, V - 1}), r);
          expect_near(loss, std::vector<double>(r == Reduction::none ? 2 : 1, std::log(static_cast<double>(V))),
                      2e-6);
          autograd::backward(loss, r == Reduction::none ? v.f32({2}, {1, 1}) : Tensor{});
          const std::vector<double> g = to_doubles(autograd::grad_of(x));
          const double share = r == Reduction::none ? 1 : 0.5, p = share / static_cast<double>(V);
          double sum = 0;
          for (size_t i = 0; i < g.size(); ++i) {
            const bool target = i == 0 || i == g.size() - 1;
            EXPECT_NEAR(g[i], target ? p - share : p, 2e-6 * (target ? share : p));
            sum += g[i];
          }
          EXPECT_NEAR(sum, 0, 1e-6);
        }
  });
}

TEST(RowStatistics, LinearCrossEntropyDoesNotSeeACommonOffset) {
  at_every_level([](const Values& v) {
    for (DType t : {DType::f32, DType::bf16})
      for (int64_t V : {5, 3000})
        for (float offset : {0.0f, 1024.0f, 1048576.0f}) {
          SCOPED_TRACE(fmt::format("{} V {} offset {}", name_of(t), V, offset));
          // Every logit is the offset: the gradient of the weight is that of the logits.
          const Tensor x = v.leaf(ops::full(*v.device, {1, 1}, t, 1)),
                       w = v.leaf(ops::full(*v.device, {V, 1}, t, offset));
          const Tensor loss = ops::linear_cross_entropy(x, w, v.i64({1}, {1}), Reduction::sum);
          expect_near(loss, {std::log(static_cast<double>(V))}, 2e-6);
          autograd::backward(loss);
          const std::vector<double> g = to_doubles(autograd::grad_of(w));
          const double p = 1 / static_cast<double>(V);
          for (size_t i = 0; i < g.size(); ++i)
            EXPECT_NEAR(g[i], i == 1 ? p - 1 : p, tolerance(t) * (i == 1 ? 1 : p)) << i;
        }
  });
}

TEST(RowStatistics, LogsumexpDoesNotSeeACommonOffset) {
  at_every_level([](const Values& v) {
    for (DType t : kNarrow)
      for (float offset : {0.0f, 1024.0f, 32768.0f}) {
        const Tensor x = v.leaf(ops::full(*v.device, {2, 1000}, t, offset));
        const Tensor y = ops::logsumexp(x);
        EXPECT_LE(relative_error(to_doubles(y), std::vector<double>(2, offset + std::log(1000.0))),
                  tolerance(t));
        autograd::backward(y, ops::full(*v.device, {2}, t, 1));
        for (double g : to_doubles(autograd::grad_of(x))) EXPECT_NEAR(g, 1e-3, 1e-3 * tolerance(t));
      }
  });
}

// A row of minus infinity has no softmax: NaN, in the result and in what depends on it, and nowhere else.
TEST(RowStatistics, AttentionRowsOfMinusInfinityAreNaNAndNoOthersAre) {
  at_every_level([](const Values& v) {
    for (DType t : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
      const int64_t L = 70, D = 4;
      const Tensor q = v.leaf(v.random({1, 1, 1, 3, D}, t, 1)), k = v.leaf(v.random({1, 1, 1, L, D}, t, 2)),
                   values = v.leaf(v.random({1, 1, 1, L, D}, t, 3));
      std::vector<double> bias(static_cast<size_t>(3 * L), 0.0);
      for (size_t j = 0; j < 70; ++j) bias[70 + j] = -INFINITY;
      for (size_t j = 0; j < 69; ++j) bias[140 + j] = -INFINITY;  // one key is left
      const Tensor o = ops::attention(q, k, values, {}, from_doubles(*v.device, {1, 1, 1, 3, L}, t, bias), {});
      const std::vector<double> got = to_doubles(o), vv = to_doubles(values);
      for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(std::isnan(got[i]), i / 4 == 1) << i;
      for (size_t d = 0; d < 4; ++d) EXPECT_EQ(got[8 + d], vv[69 * 4 + d]);
      autograd::backward(ops::sum_all(o));
      const std::vector<double> dq = to_doubles(autograd::grad_of(q));
      for (size_t i = 0; i < dq.size(); ++i) EXPECT_EQ(std::isnan(dq[i]), i / 4 == 1) << i;
      for (size_t d = 0; d < 4; ++d) EXPECT_NEAR(dq[8 + d], 0, 1e-5) << "one key: nothing to choose";
      for (double g : to_doubles(autograd::grad_of(values))) EXPECT_TRUE(std::isnan(g));
    }
  });
}

}  // namespace
}  // namespace reckon::testing
