#include "models/nn/layers.h"

#include <cmath>

#include "autograd/fusion.h"
#include "ops/binary/binary.h"
#include "ops/cross_entropy/cross_entropy.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/linear/linear.h"
#include "ops/linear_cross_entropy/linear_cross_entropy.h"
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

LayerNorm::LayerNorm(Builder& b, std::string_view n, int64_t c, Affine affine) : name(intern(n)) {
  ModuleScope scope(name);
  if (affine != Affine::nothing) weight = b.parameter("weight", {c}, Init::constant(1));
  if (affine == Affine::weight_and_bias) bias = b.parameter("bias", {c}, Init::constant(0));
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
                         const std::vector<const Linear*>& linears) {
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

template <class Norm>
TensorList project_composed(const Norm& norm, const Tensor& x, const std::vector<const Linear*>& linears) {
  const Tensor n = norm(x);
  TensorList out;
  for (const Linear* l : linears) out.push_back((*l)(n));
  return out;
}

}  // namespace

TensorList project(const LayerNorm& norm, const Tensor& x, const std::vector<const Linear*>& linears) {
  return fuses(Fusion::norm_linear)
             ? project_fused(ops::NormKind::layer, x, norm.weight, norm.bias, norm.eps, linears)
             : project_composed(norm, x, linears);
}

TensorList project(const RmsNorm& norm, const Tensor& x, const std::vector<const Linear*>& linears) {
  return fuses(Fusion::norm_linear) ? project_fused(ops::NormKind::rms, x, norm.weight, {}, norm.eps, linears)
                                    : project_composed(norm, x, linears);
}

Tensor head_cross_entropy(const Tensor& rows, const Tensor& weight, const Tensor& targets) {
  return fuses(Fusion::cross_entropy)
             ? ops::linear_cross_entropy(rows, weight, targets, ops::Reduction::mean)
             : ops::cross_entropy(ops::linear(rows, weight), targets, ops::Reduction::mean);
}

}  // namespace reckon::models
