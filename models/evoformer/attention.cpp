// Row, column and triangle attention.
#include "ops/attention/attention.h"
#include "autograd/fusion.h"

#include <cmath>

#include "models/evoformer/modules.h"
#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/matmul/matmul.h"
#include "ops/mul_sigmoid/mul_sigmoid.h"
#include "ops/softmax/softmax.h"
#include "ops/view/view.h"
#include "runtime/events/scope.h"

namespace reckon::models {

using autograd::fuses;
using autograd::Fusion;

namespace {

// [B, X, Y, H*D] seen as [B, batch, H, L, D] for the axis.
Tensor split_heads(const Tensor& t, int64_t heads, int64_t head_dim, AttentionAxis axis) {
  const Tensor five = ops::reshape(t, {t.size(0), t.size(1), t.size(2), heads, head_dim});
  return ops::permute(five, axis == AttentionAxis::rows ? Dims{0, 1, 3, 2, 4} : Dims{0, 2, 3, 1, 4});
}

// mask [B, X, Y] seen as [B, batch, L].
Tensor mask_along(const Tensor& mask, AttentionAxis axis) {
  return axis == AttentionAxis::rows ? mask : ops::transpose(mask, 1, 2);
}

// The plain composition; q, k, v [B, N, H, L, D] -> [B, N, H, L, D]. q is scaled, not the logits; the mask
// comes first, then the pair bias.
Tensor attend_eager(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask_BNL,
                    const Tensor& bias, double scale, double mask_value) {
  Tensor scores = ops::matmul(ops::scale(q, scale), ops::transpose(k, -2, -1));
  if (mask_BNL.defined()) {
    const Tensor key_bias = ops::affine(mask_BNL, mask_value, -mask_value);
    scores = ops::add(scores, ops::reshape(key_bias, {q.size(0), q.size(1), 1, 1, k.size(3)}));
  }
  if (bias.defined()) scores = ops::add(scores, bias);
  scores = ops::softmax(scores);
  return ops::matmul(scores, v);
}

}  // namespace

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

Tensor GatedAttention::operator()(TensorList qkvg, const Tensor& mask_BXY, const Tensor& bias,
                                  AttentionAxis axis) const {
  ModuleScope scope(name);
  const int64_t B = qkvg[0].size(0), X = qkvg[0].size(1), Y = qkvg[0].size(2);
  const double scale = 1.0 / std::sqrt(static_cast<double>(head_dim));
  Tensor o;
  {
    const Tensor q = split_heads(qkvg[0], heads, head_dim, axis);
    const Tensor k = split_heads(qkvg[1], heads, head_dim, axis);
    const Tensor v = split_heads(qkvg[2], heads, head_dim, axis);
    qkvg[0] = qkvg[1] = qkvg[2] = {};
    const Tensor mask = mask_BXY.defined() ? mask_along(mask_BXY, axis) : Tensor{};
    if (fuses(Fusion::attention)) {
      const Tensor row_mask = mask.defined() ? ops::contiguous(mask) : mask;
      o = ops::attention(q, k, v, row_mask, bias, {.scale = scale, .causal = false, .mask_value = -mask_value});
      if (axis == AttentionAxis::columns) o = ops::permute(o, {0, 2, 1, 3, 4});  // [B,Y,X,H,D] -> [B,X,Y,H,D]
    } else {
      o = attend_eager(q, k, v, mask, bias, scale, mask_value);
      o = ops::permute(o, axis == AttentionAxis::rows ? Dims{0, 1, 3, 2, 4} : Dims{0, 3, 1, 2, 4});
    }
  }
  o = ops::reshape(o, {B, X, Y, heads * head_dim});
  if (linear_g) {
    if (fuses(Fusion::attention)) {
      o = ops::mul_sigmoid(o, qkvg[3]);
    } else {
      const Tensor gate = ops::sigmoid(qkvg[3]);
      qkvg.clear();
      o = ops::mul(o, gate);
    }
  }
  return linear_o(o);
}

MsaRowAttention::MsaRowAttention(Builder& b, std::string_view n, const EvoformerConfig& c) : name(intern(n)) {
  ModuleScope scope(name);
  layer_norm_m = LayerNorm(b, "layer_norm_m", c.c_m);
  layer_norm_z = LayerNorm(b, "layer_norm_z", c.c_z);
  linear_z = Linear(b, "linear_z", c.c_z, c.heads_msa, false,
                    Init::normal(1.0 / std::sqrt(static_cast<double>(c.c_z))));
  mha = GatedAttention(b, "mha", c.c_m, c.heads_msa, c.c_hidden_msa, true, c.mask_value);
}

Tensor MsaRowAttention::operator()(const Tensor& m, const Tensor& z, const Tensor& msa_mask) const {
  ModuleScope scope(name);
  // [B, R, R, H] -> [B, 1, H, R, R]
  const Tensor bias = ops::unsqueeze(ops::permute(project(layer_norm_z, z, {&linear_z})[0], {0, 3, 1, 2}), 1);
  return mha(project(layer_norm_m, m, {&mha.linear_q, &mha.linear_k, &mha.linear_v, &*mha.linear_g}), msa_mask,
             bias, AttentionAxis::rows);
}

MsaColumnAttention::MsaColumnAttention(Builder& b, std::string_view n, const EvoformerConfig& c)
    : name(intern(n)) {
  ModuleScope scope(name);
  layer_norm_m = LayerNorm(b, "layer_norm_m", c.c_m);
  mha = GatedAttention(b, "mha", c.c_m, c.heads_msa, c.c_hidden_msa, true, c.mask_value);
}

Tensor MsaColumnAttention::operator()(const Tensor& m, const Tensor& msa_mask) const {
  ModuleScope scope(name);
  return mha(project(layer_norm_m, m, {&mha.linear_q, &mha.linear_k, &mha.linear_v, &*mha.linear_g}), msa_mask,
             {}, AttentionAxis::columns);
}

TriangleAttention::TriangleAttention(Builder& b, std::string_view n, const PairStackConfig& c, AttentionAxis a)
    : name(intern(n)), axis(a) {
  ModuleScope scope(name);
  layer_norm = LayerNorm(b, "layer_norm", c.c_z);
  linear =
      Linear(b, "linear", c.c_z, c.heads, false, Init::normal(1.0 / std::sqrt(static_cast<double>(c.c_z))));
  mha = GatedAttention(b, "mha", c.c_z, c.heads, c.c_hidden, true, c.mask_value,
                       {.q = false, .gate = c.biases, .out = c.biases});
}

Tensor TriangleAttention::operator()(const Tensor& z, const Tensor& pair_mask) const {
  ModuleScope scope(name);
  TensorList p = project(layer_norm, z, {&mha.linear_q, &mha.linear_k, &mha.linear_v, &*mha.linear_g, &linear});
  // Starting node: logits of (j, k) get b_jk. Ending node is the starting form on the transposed pair: b_kj.
  const Tensor bias =
      ops::unsqueeze(ops::permute(p[4], axis == AttentionAxis::rows ? Dims{0, 3, 1, 2} : Dims{0, 3, 2, 1}), 1);
  p.pop_back();
  return mha(std::move(p), pair_mask, bias, axis);
}

}  // namespace reckon::models
