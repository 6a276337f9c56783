#include "models/nn/layers.h"

#include <cmath>

#include "autograd/fusion.h"
#include "ops/binary/binary.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/linear/linear.h"
#include "ops/norm_linear/norm_linear.h"
#include "ops/rms_norm/rms_norm.h"
#include "runtime/events/scope.h"

namespace reckon::models {

using autograd::fuses;
using autograd::Fusion;

namespace {

// y + scaling * t B^T with t = x A^T.
Tensor with_lora(const Tensor& y, const Tensor& t, const LoraAdapter& lora) {
  return ops::add(y, ops::scale(ops::linear(t, lora.b), lora.scaling));
}

}  // namespace

Linear::Linear(Builder& b, std::string_view n, int64_t in, int64_t out, bool with_bias, Init init,
               double bias_value)
    : name(intern(n)) {
  ModuleScope scope(name);
  weight = b.parameter("weight", {out, in}, init, true);
  if (with_bias) bias = b.parameter("bias", {out}, Init::constant(bias_value), true);
}

Tensor Linear::operator()(const Tensor& x) const {
  ModuleScope scope(name);
  const Tensor y = ops::linear(x, weight, bias);
  return lora ? with_lora(y, ops::linear(x, lora->a), *lora) : y;
}

void Linear::add_lora(Builder& b, int64_t rank, double alpha) {
  RECKON_CHECK(rank >= 1, "LoRA needs a rank of at least 1, got {}", rank);
  RECKON_CHECK(!lora, "'{}' has a LoRA adapter already", name_of(name));
  ModuleScope scope(name);
  const int64_t in = weight.size(1);
  const Init uniform{Init::Kind::uniform, 1.0 / std::sqrt(static_cast<double>(in))};
  lora = LoraAdapter{b.parameter("lora_A.weight", {rank, in}, uniform),
                     b.parameter("lora_B.weight", {out(), rank}, Init::constant(0)),
                     alpha / static_cast<double>(rank)};
}

LayerNorm::LayerNorm(Builder& b, std::string_view n, int64_t c, double e) : name(intern(n)), eps(e) {
  ModuleScope scope(name);
  weight = b.parameter("weight", {c}, Init::constant(1));
  bias = b.parameter("bias", {c}, Init::constant(0));
}

Tensor LayerNorm::operator()(const Tensor& x) const {
  ModuleScope scope(name);
  return ops::layer_norm(x, weight, bias, eps);
}

RmsNorm::RmsNorm(Builder& b, std::string_view n, int64_t c, double e) : name(intern(n)), eps(e) {
  ModuleScope scope(name);
  weight = b.parameter("weight", {c}, Init::constant(1));
}

Tensor RmsNorm::operator()(const Tensor& x) const {
  ModuleScope scope(name);
  return ops::rms_norm(x, weight, eps);
}

namespace {

TensorList project_fused(ops::NormKind kind, const Tensor& x, const Tensor& w, const Tensor& b, double eps,
                         std::initializer_list<const Linear*> linears) {
  std::vector<Tensor> weights, biases;
  for (const Linear* l : linears) {
    weights.push_back(l->weight);
    biases.push_back(l->bias);
  }
  // The low-rank inputs read the same norm, so they are further projections of it.
  for (const Linear* l : linears) {
    if (!l->lora) continue;
    weights.push_back(l->lora->a);
    biases.emplace_back();
  }
  TensorList y = ops::norm_linear(x, kind, w, b, eps, weights, biases);
  size_t i = 0, next = linears.size();
  for (const Linear* l : linears) {
    if (l->lora) {
      ModuleScope scope(l->name);
      y[i] = with_lora(y[i], y[next++], *l->lora);
    }
    ++i;
  }
  y.resize(linears.size());
  return y;
}

}  // namespace

TensorList project(const LayerNorm& norm, const Tensor& x, std::initializer_list<const Linear*> linears) {
  if (fuses(Fusion::norm_linear))
    return project_fused(ops::NormKind::layer, x, norm.weight, norm.bias, norm.eps, linears);
  const Tensor n = norm(x);
  TensorList out;
  for (const Linear* l : linears) out.push_back((*l)(n));
  return out;
}

TensorList project(const RmsNorm& norm, const Tensor& x, std::initializer_list<const Linear*> linears) {
  if (fuses(Fusion::norm_linear))
    return project_fused(ops::NormKind::rms, x, norm.weight, {}, norm.eps, linears);
  const Tensor n = norm(x);
  TensorList out;
  for (const Linear* l : linears) out.push_back((*l)(n));
  return out;
}

}  // namespace reckon::models
