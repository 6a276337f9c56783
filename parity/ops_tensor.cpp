// How the operations of the files are computed.
#include <algorithm>
#include <cmath>

#include "autograd/fusion.h"
#include "ops/activation/activation.h"
#include "ops/attention/attention.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/concat/concat.h"
#include "ops/conv2d/conv2d.h"
#include "ops/cross_entropy/cross_entropy.h"
#include "ops/einsum/einsum.h"
#include "ops/embedding/embedding.h"
#include "ops/fill/fill.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/linear/linear.h"
#include "ops/masked_fill/masked_fill.h"
#include "ops/matmul/matmul.h"
#include "ops/mean_var/mean_var.h"
#include "ops/mse_loss/mse_loss.h"
#include "ops/mul_sigmoid/mul_sigmoid.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/rope/rope.h"
#include "ops/softmax/softmax.h"
#include "ops/swiglu/swiglu.h"
#include "ops/view/view.h"
#include "parity/ops_cases.h"

namespace reckon::parity {
namespace {

using autograd::fuses;
using autograd::Fusion;

constexpr double kMasked = -1e9;

Dims dims(const Json& list) {
  Dims d;
  for (const Json& v : list) d.push_back(v.get<int64_t>());
  return d;
}

ops::Reduction reduction(const OpRun& r) {
  const std::string name = r.attrs.at("reduction");
  for (const auto& [n, v] :
       {std::pair{"mean", ops::Reduction::mean}, {"sum", ops::Reduction::sum}, {"none", ops::Reduction::none}})
    if (name == n) return v;
  raise_error(fmt::format("unknown reduction '{}': expected mean, sum or none", name));
}

// exp of logits of magnitude L carries L roundings of the logits, and the row sum does not cancel them.
void loosen_for_logits(OpRun& r, const std::string& tensor) {
  const double l = r.largest(tensor);
  if (l > 20 && r.f64) r.tolerance.value = 1e-10;
  if (l > 20 && r.f32) r.tolerance.value = 1e-4;
  if (!r.f64 && !r.f32)
    r.tolerance.value = std::max(r.tolerance.value, l / 128);  // already rounding the inputs
}

// Over several trailing axes: the same over their product.
void layer_norm(OpRun& r) {
  const int64_t axes = r.attrs.value("normalized_dims", int64_t{1});
  const Tensor x = r.in("x"), weight = r.optional("weight"), bias = r.optional("bias");
  if (axes == 1) return r.out("y", ops::layer_norm(x, weight, bias, r.number("eps")));
  RECKON_CHECK(axes >= 1 && axes <= x.rank(), "layer_norm over {} axes of {}", axes, describe(x));
  Shape merged = x.shape().slice(0, x.rank() - static_cast<int>(axes));
  merged.push_back(-1);
  const auto flat = [](const Tensor& t) { return t.defined() ? ops::reshape(t, {-1}) : t; };
  r.out("y", ops::reshape(ops::layer_norm(ops::reshape(x, merged), flat(weight), flat(bias), r.number("eps")),
                          x.shape()));
}

void rms_norm(OpRun& r) {
  // Rows near sqrt(eps): x / rms amplifies the rounding of the stored inputs.
  if (r.smallest_row("in.x") < 1e-3) r.tolerance.value = r.f64 ? 1e-10 : r.f32 ? 1e-4 : r.tolerance.value;
  r.out("y", ops::rms_norm(r.in("x"), r.in("weight"), r.number("eps")));
}

void softmax(OpRun& r) {
  loosen_for_logits(r, "in.x");
  r.out("y", ops::softmax(r.in("x"), static_cast<int>(r.integer("dim"))));
}
void log_softmax(OpRun& r) {
  loosen_for_logits(r, "in.x");
  r.out("y", ops::log_softmax(r.in("x"), static_cast<int>(r.integer("dim"))));
}
void logsumexp(OpRun& r) {
  loosen_for_logits(r, "in.x");
  r.out("y", ops::logsumexp(r.in("x"), static_cast<int>(r.integer("dim"))));
}

void cross_entropy(OpRun& r) {
  loosen_for_logits(r, "in.logits");
  r.out("y", ops::cross_entropy(r.in("logits"), r.in("target"), reduction(r),
                                r.attrs.value("ignore_index", int64_t{-100})));
}

void einsum(OpRun& r) {
  const std::string equation = r.attrs.at("equation");
  if (r.file.has("in.b"))
    r.out("y", ops::einsum(equation, {r.in("a"), r.in("b")}));
  else
    r.out("y", ops::einsum(equation, {r.in("a")}));
}

void conv2d(OpRun& r) {
  r.out("y", ops::conv2d(r.in("x"), r.in("weight"), r.optional("bias"), dims(r.attrs.at("stride")),
                         dims(r.attrs.at("padding")), dims(r.attrs.at("dilation")), r.integer("groups")));
}

// True when the additive mask only says which keys exist: 0 or -infinity, the same for all heads and queries.
bool is_key_mask(const OpRun& r) {
  const Shape s = r.file.shape("in.mask");
  if (s.rank() != 4 || s[1] != 1 || s[2] != 1) return false;
  for (double v : r.file.values("in.mask"))
    if (v != 0 && !(std::isinf(v) && v < 0)) return false;
  return true;
}

// Fused: one op. Otherwise scores, masks, softmax and the second product, as models compose them. Heads are
// grouped by key/value head, so that sharing needs no copies.
void attention(OpRun& r) {
  const Tensor q = r.in("q"), k = r.in("k"), v = r.in("v"), bias = r.optional("bias"),
               mask = r.optional("mask");
  const int64_t B = q.size(0), H = q.size(1), L = q.size(2), D = q.size(3), K = k.size(1), M = k.size(2);
  const bool causal = r.flag("causal");
  const double scale = 1.0 / std::sqrt(static_cast<double>(D));
  // The public code counts visible keys from the first one, our causal mask from the
  // last one: the same when L = M.
  Tensor future;
  if (causal && L != M) {
    std::vector<double> hidden(static_cast<size_t>(L * M), 0);
    for (int64_t i = 0; i < L; ++i)
      for (int64_t j = i + 1; j < M; ++j) hidden[static_cast<size_t>(i * M + j)] = kMasked;
    future = r.file.upload_values(hidden, {L, M}, q.dtype(), "causal");
  }
  if (fuses(Fusion::attention)) {
    Tensor key_mask, extra;
    if (mask.defined() && is_key_mask(r)) {
      std::vector<double> keep = r.file.values("in.mask");
      for (double& x : keep) x = x == 0 ? 1 : 0;
      key_mask = r.file.upload_values(keep, {mask.size(0), 1, M}, mask.dtype(), "key_mask");
      if (mask.size(0) != B) key_mask = ops::contiguous(ops::expand(key_mask, {B, 1, M}));
    } else if (mask.defined()) {
      extra = mask;
    }
    const auto plus = [](const Tensor& a, const Tensor& b) {
      return a.defined() && b.defined() ? ops::add(a, b) : a.defined() ? a : b;
    };
    extra = plus(plus(extra, bias), future);
    if (extra.defined()) {
      const int64_t batch = extra.rank() == 4 ? extra.size(0) : 1;
      extra = ops::unsqueeze(ops::expand(extra, {batch, H, L, M}), 1);
    }
    const Tensor o =
        ops::attention(ops::unsqueeze(q, 1), ops::unsqueeze(k, 1), ops::unsqueeze(v, 1), key_mask, extra,
                       {.scale = scale, .causal = causal && !future.defined(), .mask_value = kMasked});
    r.out("y", ops::permute(ops::reshape(o, {B, L, H, D}), {0, 2, 1, 3}));
    return;
  }
  Tensor scores = ops::matmul(ops::reshape(ops::scale(q, scale), {B, K, H / K, L, D}),
                              ops::transpose(ops::unsqueeze(k, 2), -2, -1));
  scores = ops::reshape(scores, {B, H, L, M});
  if (causal && !future.defined()) {
    future = Tensor::empty(r.file.device(), {L, M}, q.dtype(), Category::input, "causal");
    ops::fill_causal(future, kMasked);
  }
  if (future.defined()) scores = ops::add(scores, future);
  if (mask.defined()) scores = ops::add(scores, mask);
  if (bias.defined()) scores = ops::add(scores, bias);
  const Tensor p = ops::reshape(ops::softmax(scores), {B, K, H / K, L, M});
  r.out("y", ops::reshape(ops::matmul(p, ops::unsqueeze(v, 2)), {B, H, L, D}));
}

// [B, heads, S, D] in the files, [B, S, heads, D] here.
void rope(OpRun& r) {
  const double theta = r.number("theta");
  for (const std::string& n : r.file.names_under("out.")) {
    const Tensor turned = ops::rope(ops::permute(r.in(n), {0, 2, 1, 3}), r.in("position_ids"), theta);
    r.out(n, ops::permute(turned, {0, 2, 1, 3}));
  }
}

void mean_var(OpRun& r) {
  const Json axes = r.attrs.at("dim").is_array() ? r.attrs["dim"] : Json::array({r.attrs["dim"]});
  const ops::MeanVar mv = ops::mean_var(r.in("x"), dims(axes), r.flag("unbiased"), r.flag("keepdim"));
  r.out("mean", mv.mean);
  r.out("var", mv.var);
}

void concat(OpRun& r) {
  std::vector<Tensor> parts;
  for (const std::string& n : r.file.names_under("in.")) parts.push_back(r.in(n));
  r.out("y", ops::concat(parts, static_cast<int>(r.integer("dim"))));
}

void permute(OpRun& r) {
  Tensor y = ops::permute(r.in("x"), dims(r.attrs.at("perm")));
  if (r.attrs.contains("then_reshape")) y = ops::reshape(y, dims(r.attrs["then_reshape"]));
  r.out("y", y);
}

// A vector is a row on the left, a column on the right.
void matmul(OpRun& r) {
  const Tensor a = r.in("a"), b = r.in("b");
  Tensor y = ops::matmul(a.rank() == 1 ? ops::unsqueeze(a, 0) : a, b.rank() == 1 ? ops::unsqueeze(b, 1) : b);
  if (b.rank() == 1) y = ops::squeeze(y, -1);
  if (a.rank() == 1) y = ops::squeeze(y, b.rank() == 1 ? -1 : -2);
  r.out("y", y);
}

#define RECKON_UNARY(name) [](OpRun& r) { r.out("y", ops::name(r.in("x"))); }

constexpr NamedRunner kRunners[] = {
    {"layer_norm", layer_norm},
    {"rms_norm", rms_norm},
    {"softmax", softmax},
    {"log_softmax", log_softmax},
    {"logsumexp", logsumexp},
    {"silu", RECKON_UNARY(silu)},
    {"gelu_erf", RECKON_UNARY(gelu)},
    {"gelu_tanh", RECKON_UNARY(gelu_tanh)},
    {"sigmoid", RECKON_UNARY(sigmoid)},
    {"relu", RECKON_UNARY(relu)},
    {"tanh", RECKON_UNARY(tanh)},
    {"swiglu", [](OpRun& r) { r.out("y", ops::swiglu(r.in("gate"), r.in("up"))); }},
    {"mul_sigmoid", [](OpRun& r) { r.out("y", ops::mul_sigmoid(r.in("x"), r.in("gate"))); }},
    {"cross_entropy", cross_entropy},
    {"mse_loss", [](OpRun& r) { r.out("y", ops::mse_loss(r.in("x"), r.in("target"), reduction(r))); }},
    {"embedding", [](OpRun& r) { r.out("y", ops::embedding(r.in("ids"), r.in("weight"))); }},
    {"linear", [](OpRun& r) { r.out("y", ops::linear(r.in("x"), r.in("weight"), r.optional("bias"))); }},
    {"matmul", matmul},
    {"einsum", einsum},
    {"conv2d", conv2d},
    {"sdpa", attention},
    {"sdpa_gqa", attention},
    {"rope_rotate_half", rope},
    {"mean_var", mean_var},
    {"add_mul", [](OpRun& r) { r.out("y", ops::mul(ops::add(r.in("x"), r.in("b")), r.in("s"))); }},
    {"permute", permute},
    {"cat", concat},
    {"masked_fill", [](OpRun& r) { r.out("y", ops::masked_fill(r.in("x"), r.in("mask"), r.number("value"))); }},
};

}  // namespace

std::span<const NamedRunner> tensor_op_runners() { return kRunners; }

}  // namespace reckon::parity
