#include "models/qwen/qwen.h"

#include <algorithm>

#include "autograd/autocast.h"
#include "autograd/fusion.h"
#include "models/nn/attention.h"
#include "models/nn/feed_forward.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/cross_entropy/cross_entropy.h"
#include "ops/embedding/embedding.h"
#include "ops/linear/linear.h"
#include "ops/linear_cross_entropy/linear_cross_entropy.h"
#include "ops/matmul/matmul.h"
#include "ops/rope/rope.h"
#include "ops/view/view.h"
#include "runtime/events/scope.h"

namespace reckon::models {

using autograd::fuses;
using autograd::Fusion;

QwenAttention::QwenAttention(Builder& b, std::string_view n, const QwenConfig& c)
    : name(intern(n)), heads(c.heads), kv_heads(c.kv_heads), head_dim(c.head_dim), rope_theta(c.rope_theta) {
  ModuleScope scope(name);
  const Init init = Init::normal(c.initializer_range);
  q_proj = Linear(b, "q_proj", c.hidden, heads * head_dim, c.qkv_bias, init);
  k_proj = Linear(b, "k_proj", c.hidden, kv_heads * head_dim, c.qkv_bias, init);
  v_proj = Linear(b, "v_proj", c.hidden, kv_heads * head_dim, c.qkv_bias, init);
  if (c.qk_norm) {
    q_norm = RmsNorm(b, "q_norm", head_dim, c.rms_eps);
    k_norm = RmsNorm(b, "k_norm", head_dim, c.rms_eps);
  }
  o_proj = Linear(b, "o_proj", heads * head_dim, c.hidden, false, init);
}

QwenMlp::QwenMlp(Builder& b, std::string_view n, const QwenConfig& c) : name(intern(n)) {
  ModuleScope scope(name);
  const Init init = Init::normal(c.initializer_range);
  gate_proj = Linear(b, "gate_proj", c.hidden, c.intermediate, false, init);
  up_proj = Linear(b, "up_proj", c.hidden, c.intermediate, false, init);
  down_proj = Linear(b, "down_proj", c.intermediate, c.hidden, false, init);
}

QwenLayer::QwenLayer(Builder& b, int64_t i, const QwenConfig& c) : index(i) {
  const BlockBuilding building(block, std::to_string(i), b);
  input_layernorm = RmsNorm(b, "input_layernorm", c.hidden, c.rms_eps);
  self_attn = QwenAttention(b, "self_attn", c);
  post_attention_layernorm = RmsNorm(b, "post_attention_layernorm", c.hidden, c.rms_eps);
  mlp = QwenMlp(b, "mlp", c);
}

Tensor QwenLayer::attend(const Tensor& x_BSH, const QwenInputs& in) const {
  const QwenAttention& a = self_attn;
  const int64_t B = x_BSH.size(0), S = x_BSH.size(1), A = a.heads, K = a.kv_heads, D = a.head_dim;
  ModuleScope scope(a.name);
  TensorList qkv = project(input_layernorm, x_BSH, {&a.q_proj, &a.k_proj, &a.v_proj});
  Tensor q = ops::reshape(qkv[0], {B, S, A, D});
  Tensor k = ops::reshape(qkv[1], {B, S, K, D});
  Tensor v = ops::reshape(qkv[2], {B, S, K, D});
  qkv.clear();
  if (a.q_norm) q = (*a.q_norm)(q);
  if (a.k_norm) k = (*a.k_norm)(k);
  q = ops::permute(ops::rope(q, in.positions, a.rope_theta), {0, 2, 1, 3});
  k = ops::permute(ops::rope(k, in.positions, a.rope_theta), {0, 2, 1, 3});
  v = ops::permute(v, {0, 2, 1, 3});
  if (in.cache) {
    KvCache::KeysValues all = in.cache->append(index, k, v);
    k = ops::cast(all.keys, q.dtype());
    v = ops::cast(all.values, q.dtype());
  }
  const Tensor o = attend_causal(q, k, v, in.key_mask, in.causal_bias);
  q = k = v = {};
  return a.o_proj(ops::reshape(o, {B, S, A * D}));
}

Tensor QwenLayer::feed_forward(const Tensor& x_BSH) const {
  ModuleScope scope(mlp.name);
  return swiglu(x_BSH, post_attention_layernorm, mlp.gate_proj, mlp.up_proj, mlp.down_proj);
}

Tensor QwenLayer::operator()(const Tensor& x_BSH, const QwenInputs& in) const {
  const BlockRun run(block);
  using autograd::add_to_residual;
  const Tensor x = add_to_residual(x_BSH, branch({x_BSH}, [this, in](auto v) { return attend(v[0], in); }));
  return add_to_residual(x, branch({x}, [this](auto v) { return feed_forward(v[0]); }));
}

Qwen::Qwen(Device& device, const QwenConfig& config, uint64_t seed, DType dtype)
    : device_(device), config_(config) {
  config_.validate();
  Builder b(device, dtype, seed, parameters_);
  {
    ModuleScope scope("embed_tokens");
    embed_tokens_ =
        b.parameter("weight", {config_.vocab, config_.hidden}, Init::normal(config_.initializer_range));
  }
  {
    ModuleScope scope("layers");
    for (int64_t i = 0; i < config_.layers; ++i) layers_.push_back(std::make_unique<QwenLayer>(b, i, config_));
  }
  norm_ = RmsNorm(b, "norm", config_.hidden, config_.rms_eps);
  if (!config_.tied) {
    ModuleScope scope("lm_head");
    lm_head_ = b.parameter("weight", {config_.vocab, config_.hidden}, Init::normal(config_.initializer_range));
  }
}

void Qwen::add_lora(const LoraOptions& options) {
  for (const NamedParameter& p : parameters_.all())
    p.tensor.grad_meta()->requires_grad = false;  // shared by the layers' handles
  const DType dtype = parameters_.all()[0].tensor.dtype();
  Builder b(device_, dtype, options.seed, parameters_);
  int64_t added = 0;
  ModuleScope scope("layers");
  for (const auto& layer : layers_) {
    ModuleScope layer_scope(layer->block.name);
    const auto visit = [&](NameId module, std::initializer_list<Linear*> linears) {
      ModuleScope module_scope(module);
      for (Linear* l : linears) {
        if (std::find(options.targets.begin(), options.targets.end(), name_of(l->name)) ==
            options.targets.end())
          continue;
        l->add_lora(b, options.rank, options.alpha);
        adapted_.push_back(l);
        ++added;
      }
    };
    QwenAttention& a = layer->self_attn;
    visit(a.name, {&a.q_proj, &a.k_proj, &a.v_proj, &a.o_proj});
    QwenMlp& m = layer->mlp;
    visit(m.name, {&m.gate_proj, &m.up_proj, &m.down_proj});
  }
  RECKON_CHECK(added > 0 || options.train_head_bias,
               "LoRA targets '{}' name none of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj",
               fmt::join(options.targets, ", "));
  if (!options.train_head_bias) return;
  Scope top;
  context().module = {};
  ModuleScope head("lm_head");
  head_bias_ = b.parameter("bias", {config_.vocab}, Init::constant(0));
}

bool Qwen::is_adapter(std::string_view n) const {
  return n.ends_with(".lora_A.weight") || n.ends_with(".lora_B.weight") || n == "lm_head.bias";
}

Tensor Qwen::merged(const NamedParameter& p) const {
  for (const Linear* l : adapted_)
    if (l->weight.storage() == p.tensor.storage()) {
      ModuleScope scope("merge");
      return ops::add(l->weight, ops::scale(ops::matmul(l->lora->b, l->lora->a), l->lora->scaling));
    }
  return p.tensor;
}

Tensor Qwen::hidden(const Tensor& ids_BS, const Tensor& positions, const Tensor& mask_BT,
                    KvCache* cache) const {
  RECKON_CHECK(ids_BS.rank() == 2 && ids_BS.dtype() == DType::i64,
               "token ids must be i64 [batch, sequence], got {}", describe(ids_BS));
  RECKON_CHECK(!cache || !autograd::grad_state().enabled,
               "a key/value cache is written in place and has no gradient: use autograd::NoGrad");
  const int64_t B = ids_BS.size(0), S = ids_BS.size(1), before = cache ? cache->length() : 0, T = before + S;
  QwenInputs in;
  in.positions = positions;
  in.cache = cache;
  if (!positions.defined()) {
    std::vector<int64_t> p(static_cast<size_t>(S));
    for (int64_t i = 0; i < S; ++i) p[static_cast<size_t>(i)] = before + i;
    in.positions =
        Tensor::from_host(device_, {S}, DType::i64, p.data(), p.size() * 8, Category::input, "positions");
  }
  if (mask_BT.defined()) in.key_mask = mask_BT.reshaped({B, 1, T});
  in.causal_bias = make_causal_bias(device_, S, T, parameters_.all()[0].tensor.dtype());
  TensorList x;
  {
    ModuleScope scope("embed_tokens");
    x.push_back(autograd::residual_stream(ops::embedding(ids_BS, embed_tokens_)));
  }
  ModuleScope scope("layers");
  x = run_blocks(layers_, std::move(x),
                 [in](const QwenLayer& layer, auto v) { return TensorList{layer(v[0], in)}; });
  if (cache) cache->advance(S);
  return x[0];
}

Tensor Qwen::logits(const Tensor& hidden_BSH) const {
  const Tensor n = norm_(hidden_BSH);
  ModuleScope scope("lm_head");
  return ops::linear(n, head_weight(), head_bias_);
}

Tensor Qwen::loss(const Tensor& ids_BS, const Tensor& labels_BS, const Tensor& positions,
                  const Tensor& mask_BS) const {
  Tensor h = hidden(ids_BS, positions, mask_BS);
  PhaseScope phase(Phase::loss);
  const int64_t T = ids_BS.numel();
  const Tensor labels = labels_BS.reshaped({T});
  if (fuses(Fusion::cross_entropy) && !head_bias_.defined()) {
    h = norm_(h);
    ModuleScope scope("lm_head");
    return ops::linear_cross_entropy(ops::reshape(h, {T, config_.hidden}), head_weight(), labels,
                                     ops::Reduction::mean);
  }
  Tensor l = logits(h);
  h = {};
  ModuleScope scope("loss");
  return ops::cross_entropy(ops::reshape(l, {T, config_.vocab}), labels, ops::Reduction::mean);
}

}  // namespace reckon::models
