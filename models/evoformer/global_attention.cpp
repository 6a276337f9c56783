// Global column attention of the extra-MSA stack (AlphaFold 2 supplement, algorithm 19).
#include <cmath>

#include "models/evoformer/modules.h"
#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/matmul/matmul.h"
#include "ops/softmax/softmax.h"
#include "ops/sum/sum.h"
#include "ops/view/view.h"
#include "runtime/events/scope.h"

namespace reckon::models {

MsaColumnGlobalAttention::MsaColumnGlobalAttention(Builder& b, std::string_view n, int64_t c, int64_t h,
                                                   int64_t d, double inf, double e)
    : name(intern(n)),
      attention_name(intern("global_attention")),
      heads(h),
      head_dim(d),
      mask_value(inf),
      eps(e) {
  ModuleScope scope(name);
  layer_norm_m = LayerNorm(b, "layer_norm_m", c);
  ModuleScope attention(attention_name);
  const Init glorot = Init::glorot(c, h * d);
  linear_q = Linear(b, "linear_q", c, h * d, false, glorot);
  linear_k = Linear(b, "linear_k", c, d, false, Init::glorot(c, d));
  linear_v = Linear(b, "linear_v", c, d, false, Init::glorot(c, d));
  linear_g = Linear(b, "linear_g", c, h * d, true, Init::constant(0), 1.0);
  linear_o = Linear(b, "linear_o", h * d, c, true, Init::constant(0));
}

Tensor MsaColumnGlobalAttention::operator()(const Tensor& m_BSRM, const Tensor& mask_BSR) const {
  ModuleScope scope(name);
  RECKON_CHECK(
      mask_BSR.defined(),
      "global column attention averages over the rows of a mask: give one (all ones when every row counts)");
  const int64_t B = m_BSRM.size(0), R = m_BSRM.size(2), H = heads, D = head_dim;
  const Tensor x = layer_norm_m(m_BSRM);
  ModuleScope attention(attention_name);
  Tensor q;
  {
    const Tensor total = ops::sum(ops::mul(x, ops::unsqueeze(mask_BSR, -1)), {1});            // [B, R, M]
    const Tensor count = ops::unsqueeze(ops::affine(ops::sum(mask_BSR, {1}), 1.0, eps), -1);  // [B, R, 1]
    q = ops::scale(linear_q(ops::div(total, count)), 1.0 / std::sqrt(static_cast<double>(head_dim)));
  }
  const Tensor k_BRDS = ops::permute(linear_k(x), {0, 2, 3, 1});
  const Tensor v_BRSD = ops::permute(linear_v(x), {0, 2, 1, 3});
  Tensor scores = ops::matmul(ops::reshape(q, {B, R, H, D}), k_BRDS);  // [B, R, H, S]
  const Tensor key_bias = ops::affine(ops::permute(mask_BSR, {0, 2, 1}), mask_value, -mask_value);
  scores = ops::softmax(ops::add(scores, ops::unsqueeze(key_bias, 2)));
  const Tensor o_BR = ops::reshape(ops::matmul(scores, v_BRSD), {B, 1, R, H * D});
  return linear_o(ops::mul(ops::sigmoid(linear_g(x)), o_BR));
}

}  // namespace reckon::models
