// softmax(scale q k^T + mask + bias) v, head by head, and its gradients by the chain rule.
#include "ops/attention/attention_attrs.h"
#include "ops/reference.h"

namespace reckon::ops {
namespace {

// Where the matrices of one head lie; out and its gradient are [B, N, Lq, H, D].
struct Head {
  int64_t row, h;  // of B N rows
  int64_t query, key, bias;
};

void for_each_head(const HostTensor& q, const HostTensor& k, const HostTensor& bias, auto body) {
  const int64_t N = q.size(1), H = q.size(2), Hkv = k.size(2);
  const int64_t own_b = bias.defined ? bias.size(0) : 1, own_n = bias.defined ? bias.size(1) : 1;
  for (int64_t b = 0; b < q.size(0); ++b)
    for (int64_t n = 0; n < N; ++n)
      for (int64_t h = 0; h < H; ++h) {
        const int64_t row = b * N + n;
        body(Head{row, h, row * H + h, row * Hkv + h / (H / Hkv), (b % own_b * own_n + n % own_n) * H + h});
      }
}

RowMajor logits(const Head& at, const HostTensor& q, const HostTensor& k, const HostTensor& mask,
                const HostTensor& bias, const AttentionAttrs& a) {
  RowMajor s = a.scale * q.matrix(at.query) * k.matrix(at.key).transpose();
  if (mask.defined) s.rowwise() += ((1 - mask.rows().row(at.row).array()) * a.mask_value).matrix();
  if (bias.defined) s += bias.matrix(at.bias);
  const int64_t first_hidden = s.cols() - s.rows() + 1;  // of query 0
  for (int64_t i = 0; a.causal && i < s.rows(); ++i)
    for (int64_t j = i + first_hidden; j < s.cols(); ++j) s(i, j) = -INFINITY;
  return s;
}

HostTensors attention(const ReferenceCall& c) {
  using In = AttentionInput;
  const HostTensor &q = c.in[In::q], &k = c.in[In::k], &v = c.in[In::v];
  const int64_t Lq = q.size(3);
  HostTensor out({q.size(0), q.size(1), Lq, q.size(2), q.size(4)}),
      statistics({2, q.size(0), q.size(1), q.size(2), Lq});
  for_each_head(q, k, c.in[In::bias], [&](const Head& at) {
    const RowMajor s = logits(at, q, k, c.in[In::key_mask], c.in[In::bias], c.as<AttentionAttrs>());
    for (int64_t i = 0; i < Lq; ++i) {
      const double top = s.row(i).maxCoeff();
      const Eigen::RowVectorXd p = (s.row(i).array() - top).exp();
      out.matrix(at.row * Lq + i).row(at.h) = p * v.matrix(at.key) / p.sum();
      const int64_t row = at.query * Lq + i;
      statistics.values[row] = top;
      statistics.values[statistics.values.size() / 2 + row] = std::log(p.sum());
    }
  });
  return {out, statistics};
}

// Axis p of the result is axis axes[p] of t.
HostTensor permuted(const HostTensor& t, const int (&axes)[5]) {
  HostTensor out({t.size(axes[0]), t.size(axes[1]), t.size(axes[2]), t.size(axes[3]), t.size(axes[4])});
  Dims from = Dims::filled(5, 0);
  for (double& value : out.values) {
    value = t.at(from);
    for (int p = 4; p >= 0 && ++from[axes[p]] == t.size(axes[p]); --p) from[axes[p]] = 0;
  }
  return out;
}

// With p = exp(logits - maximum - log of the sum): dv = p^T g, dp = g v^T, dlogits = p (dp - rowsum(g out)), dq = scale
// dlogits k, dk = scale dlogits^T q, dbias = dlogits.
HostTensors attention_backward(const ReferenceCall& c) {
  using In = AttentionBackwardInput;
  const auto& a = c.as<AttentionBackwardAttrs>();
  const HostTensor &q = c.in[In::q], &k = c.in[In::k], &v = c.in[In::v], &bias = c.in[In::bias];
  const int64_t Lq = q.size(3), D = q.size(4);
  HostTensor dq(q.shape), dk(k.shape), dv(v.shape), dbias(bias.defined ? bias.shape : Shape{});
  for_each_head(q, k, bias, [&](const Head& at) {
    RowMajor g(Lq, D), out(Lq, D);
    for (int64_t i = 0; i < Lq; ++i) {
      g.row(i) = c.in[In::dout].matrix(at.row * Lq + i).row(at.h);
      out.row(i) = c.in[In::out].matrix(at.row * Lq + i).row(at.h);
    }
    RowMajor p = logits(at, q, k, c.in[In::key_mask], bias, a);
    const std::vector<double>& statistics = c.in[In::statistics].values;
    for (int64_t i = 0; i < Lq; ++i)
      p.row(i).array() -= statistics[at.query * Lq + i] + statistics[statistics.size() / 2 + at.query * Lq + i];
    p = p.array().exp();
    RowMajor d = g * v.matrix(at.key).transpose();
    d.colwise() -= g.cwiseProduct(out).rowwise().sum();
    d = d.cwiseProduct(p);
    dv.matrix(at.key) += p.transpose() * g;
    dk.matrix(at.key) += a.scale * d.transpose() * q.matrix(at.query);
    dq.matrix(at.query) = a.scale * d * k.matrix(at.key);
    if (bias.defined) dbias.matrix(at.bias) += d;
  });
  HostTensors wanted;
  if (a.wants_q) wanted.push_back(permuted(dq, a.q_axes));
  if (a.wants_k) wanted.push_back(permuted(dk, a.k_axes));
  if (a.wants_v) wanted.push_back(permuted(dv, a.v_axes));
  if (a.wants_bias) wanted.push_back(dbias);
  return wanted;
}

}  // namespace

// Two keys whose logits differ by log 3 are weighted 1/4 and 3/4: out = 1/4 * 8 + 3/4 * 4 = 5.
std::vector<OpReference> attention_references() {
  const std::vector<const char*> golden = {"ops/sdpa_plain.safetensors", "ops/sdpa_bias_broadcast.safetensors",
                                           "ops/sdpa_gqa_causal.safetensors"};
  const double log3 = std::log(3.0), log4 = std::log(4.0);
  const HostTensor q({1, 1, 1, 1, 1}, {2}), k({1, 1, 1, 2, 1}, {0, log3}), v({1, 1, 1, 2, 1}, {8, 4});
  return {
      {.op = "attention",
       .compute = attention,
       .values = {{.name = "weights 1/4 and 3/4",
                   .inputs = {q, k, v, {}, {}},
                   .attrs = std::make_shared<AttentionAttrs>(0.5, false, 0.0),
                   .outputs = {{{1, 1, 1, 1, 1}, {5}}, {{2, 1, 1, 1, 1}, {log3, log4 - log3}}},
                   .source = "scale q k = 0 and log 3, so exp gives 1 and 3 of 4"},
                  {.name = "a masked key, a bias on the other",
                   .inputs = {q, k, v, {{1, 1, 2}, {1, 0}}, {{1, 1, 1, 1, 2}, {log3, 0}}},
                   .attrs = std::make_shared<AttentionAttrs>(0.5, false, -log3),
                   .outputs = {{{1, 1, 1, 1, 1}, {7}}, {{2, 1, 1, 1, 1}, {log3, log4 - log3}}},
                   .source = "logits 0 + log 3 and log 3 - log 3, so exp gives 3 and 1 of 4"}},
       .golden = golden},
      {.op = "attention_backward",
       .compute = attention_backward,
       .values = {{.name = "weights 1/4 and 3/4",
                   .inputs = {{{1, 1, 1, 1, 1}, {16}},
                              q,
                              k,
                              v,
                              {},
                              {},
                              {{1, 1, 1, 1, 1}, {5}},
                              {{2, 1, 1, 1, 1}, {log3, log4 - log3}}},
                   .attrs = std::make_shared<AttentionBackwardAttrs>(AttentionAttrs(0.5, false, 0.0), true,
                                                                     true, true, false),
                   .outputs = {{{1, 1, 1, 1, 1}, {-6 * log3}},
                               {{1, 1, 1, 2, 1}, {12, -12}},
                               {{1, 1, 1, 2, 1}, {4, 12}}},
                   .source = "dv = p 16; dlogits = p (16 v - 16 * 5) = 1/4 * 48 and 3/4 * -16; dk = scale 2 "
                             "dlogits, dq = scale (0 * 12 - 12 log 3)"}},
       .golden = golden}};
}

}  // namespace reckon::ops
