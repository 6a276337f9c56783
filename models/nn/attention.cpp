#include "models/nn/attention.h"

#include <cmath>

#include "autograd/fusion.h"
#include "ops/activation/activation.h"
#include "ops/attention/attention.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/masked_fill/masked_fill.h"
#include "ops/matmul/matmul.h"
#include "ops/mul_sigmoid/mul_sigmoid.h"
#include "ops/softmax/softmax.h"
#include "ops/view/view.h"
#include "runtime/events/scope.h"

namespace reckon::models {

using autograd::fuses;
using autograd::Fusion;

namespace {

constexpr double kHiddenLogit = -1e9;  // of keys that a decoder must not see

double scale_of(const Tensor& q) { return 1.0 / std::sqrt(static_cast<double>(q.size(-1))); }

// (mask - 1) * value over keys, [B, N, 1, 1, L].
Tensor key_bias(const Tensor& mask, double value) {
  const Tensor bias = ops::affine(mask, value, -value);
  return ops::reshape(bias, {mask.size(0), mask.size(1), 1, 1, mask.size(2)});
}

// q is scaled, not the logits; the mask comes first, then the bias.
Tensor composed_added(const Tensor& q, const Tensor& k, const Tensor& v, const LogitTerms& t) {
  const Tensor keys = ops::transpose(k, -2, -1);
  Tensor scores = ops::matmul(ops::scale(q, scale_of(q)), keys);
  if (t.mask.defined()) scores = ops::add(scores, key_bias(t.mask, t.value));
  if (t.bias.defined()) scores = ops::add(scores, t.bias);
  scores = ops::softmax(scores);
  return ops::matmul(scores, v);
}

// The bias comes first, then hidden logits are replaced.
Tensor composed_replaced(Tensor& q, const Tensor& k, const Tensor& v, const LogitTerms& t) {
  q = ops::scale(q, scale_of(q));
  Tensor scores = ops::matmul(q, ops::transpose(k, -2, -1));
  q = {};
  if (t.bias.defined()) scores = ops::add(scores, t.bias);
  if (t.hidden.defined()) {
    const Shape s = t.hidden.shape();
    scores = ops::masked_fill(scores, ops::reshape(t.hidden, {s[0], s[1], 1, 1, s[2]}), -t.value);
  }
  scores = ops::softmax(scores);
  return ops::matmul(scores, v);
}

}  // namespace

Tensor split_heads(const Tensor& t, int64_t heads, AttentionAxis axis) {
  const Tensor five = ops::reshape(t, {t.size(0), t.size(1), t.size(2), heads, t.size(3) / heads});
  return ops::permute(five, axis == AttentionAxis::rows ? Dims{0, 1, 3, 2, 4} : Dims{0, 2, 3, 1, 4});
}

Tensor attend(Tensor& q, const Tensor& k, const Tensor& v, const LogitTerms& t, AttentionAxis axis) {
  const bool rows = axis == AttentionAxis::rows, replaced = t.masking == Masking::replaced;
  if (!fuses(Fusion::attention)) {
    const Tensor o = replaced ? composed_replaced(q, k, v, t) : composed_added(q, k, v, t);
    return ops::permute(o, rows ? Dims{0, 1, 3, 2, 4} : Dims{0, 3, 1, 2, 4});
  }
  Tensor mask = t.mask;  // the kernel wants one row per batch entry
  if (mask.defined())
    mask = ops::contiguous(replaced ? ops::expand(mask, {q.size(0), q.size(1), k.size(3)}) : mask);
  Tensor o =
      ops::attention(q, k, v, mask, t.bias, {.scale = scale_of(q), .causal = false, .mask_value = -t.value});
  return rows ? o : ops::permute(o, {0, 2, 1, 3, 4});  // [B, Y, X, H, D] -> [B, X, Y, H, D]
}

Tensor gated(Tensor o, Tensor& logits) {
  if (fuses(Fusion::attention)) return ops::mul_sigmoid(o, logits);
  const Tensor gate = ops::sigmoid(logits);
  logits = {};
  o = ops::mul(o, gate);
  return o;
}

Tensor attend_causal(const Tensor& q_BASD, const Tensor& k_BKTD, const Tensor& v_BKTD, const Tensor& key_mask,
                     const Tensor& causal_bias) {
  const int64_t B = q_BASD.size(0), A = q_BASD.size(1), S = q_BASD.size(2), D = q_BASD.size(3),
                K = k_BKTD.size(1);
  const double scale = scale_of(q_BASD);
  if (fuses(Fusion::attention))
    return ops::attention(ops::unsqueeze(q_BASD, 1), ops::unsqueeze(k_BKTD, 1), ops::unsqueeze(v_BKTD, 1),
                          key_mask, {}, {.scale = scale, .causal = true, .mask_value = kHiddenLogit});
  // Query heads are grouped by key/value head, so that sharing needs no copies.
  const Tensor q = ops::reshape(ops::scale(q_BASD, scale), {B, K, A / K, S, D});
  Tensor scores = ops::matmul(q, ops::transpose(ops::unsqueeze(k_BKTD, 2), -2, -1));
  scores = ops::add(scores, causal_bias);
  if (key_mask.defined()) scores = ops::add(scores, key_bias(key_mask, -kHiddenLogit));
  scores = ops::softmax(scores);
  const Tensor o = ops::matmul(scores, ops::unsqueeze(v_BKTD, 2));
  return ops::permute(ops::reshape(o, {B, A, S, D}), {0, 2, 1, 3});
}

Tensor make_causal_bias(Device& device, int64_t queries, int64_t keys, DType dtype) {
  if (fuses(Fusion::attention)) return {};
  Tensor bias = Tensor::empty(device, {queries, keys}, dtype, Category::input, "causal_bias");
  ops::fill_causal(bias, kHiddenLogit);
  return bias;
}

Tensor pair_bias(const LayerNorm& norm, const Linear& linear, const Tensor& pair) {
  return ops::unsqueeze(ops::permute(project(norm, pair, {&linear})[0], {0, 3, 1, 2}), 1);
}

GatedAttention::GatedAttention(Builder& b, std::string_view n, int64_t c, int64_t h, int64_t d, bool gated,
                               double inf, AttentionBiases biases)
    : name(intern(n)), heads(h), head_dim(d), mask_value(inf) {
  ModuleScope scope(name);
  const Init glorot = Init::glorot(c, h * d);
  linear_q = Linear(b, "linear_q", c, h * d, biases.q, glorot);
  linear_k = Linear(b, "linear_k", c, h * d, false, glorot);
  linear_v = Linear(b, "linear_v", c, h * d, false, glorot);
  linear_o = Linear(b, "linear_o", h * d, c, biases.out, Init::constant(0));
  if (gated) linear_g = Linear(b, "linear_g", c, h * d, biases.gate, Init::constant(0), 1.0);
}

TensorList GatedAttention::projections(const LayerNorm& norm, const Tensor& x, const Linear* also) const {
  std::vector<const Linear*> linears{&linear_q, &linear_k, &linear_v};
  if (linear_g) linears.push_back(&*linear_g);
  if (also) linears.push_back(also);
  return project(norm, x, linears);
}

Tensor GatedAttention::operator()(TensorList qkvg, const Tensor& mask_BXY, const Tensor& bias,
                                  AttentionAxis axis) const {
  ModuleScope scope(name);
  const Shape out{qkvg[0].size(0), qkvg[0].size(1), qkvg[0].size(2), heads * head_dim};
  Tensor o;
  {
    Tensor q = split_heads(qkvg[0], heads, axis);
    const Tensor k = split_heads(qkvg[1], heads, axis);
    const Tensor v = split_heads(qkvg[2], heads, axis);
    qkvg[0] = qkvg[1] = qkvg[2] = {};
    LogitTerms terms{.mask = mask_BXY, .bias = bias, .value = mask_value};
    if (mask_BXY.defined() && axis == AttentionAxis::columns) terms.mask = ops::transpose(mask_BXY, 1, 2);
    o = attend(q, k, v, terms, axis);
  }
  o = ops::reshape(o, out);
  if (linear_g) o = gated(std::move(o), qkvg[3]);
  return linear_o(o);
}

}  // namespace reckon::models
