// Qwen2 / Qwen2.5 / Qwen3 decoder. Parameter names are Hugging Face's without the leading "model.".
// Shape letters: B batch, S sequence, H hidden, A query heads, K key/value heads, D head
// width, I feed-forward, V vocabulary.
#pragma once

#include <memory>

#include "models/nn/block.h"
#include "models/nn/layers.h"
#include "models/qwen/config.h"
#include "models/qwen/kv_cache.h"
#include "models/qwen/lora.h"

namespace reckon::models {

struct QwenAttention {
  NameId name{};
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  double rope_theta = 0;
  Linear q_proj, k_proj, v_proj, o_proj;
  std::optional<RmsNorm> q_norm, k_norm;

  QwenAttention() = default;
  QwenAttention(Builder& b, std::string_view name, const QwenConfig& c);
};

struct QwenMlp {
  NameId name{};
  Linear gate_proj, up_proj, down_proj;

  QwenMlp() = default;
  QwenMlp(Builder& b, std::string_view name, const QwenConfig& c);
};

// What all layers share in one forward pass.
struct QwenInputs {
  Tensor positions;    // i64 [S] or [B, S]
  Tensor key_mask;     // f32 [B, 1, T], 1 = may be attended to; undefined: all. T = S and what the cache holds
  Tensor causal_bias;  // f32 [S, T], 0 or -1e9; only the eager composition uses it
  KvCache* cache = nullptr;
};

struct QwenLayer {
  Block block;
  int64_t index = 0;
  RmsNorm input_layernorm;
  QwenAttention self_attn;
  RmsNorm post_attention_layernorm;
  QwenMlp mlp;

  QwenLayer(Builder& b, int64_t index, const QwenConfig& c);
  Tensor operator()(const Tensor& x_BSH, const QwenInputs& in) const;

 private:
  Tensor attend(const Tensor& x_BSH, const QwenInputs& in) const;
  Tensor feed_forward(const Tensor& x_BSH) const;
};

class Qwen {
 public:
  Qwen(Device& device, const QwenConfig& config, uint64_t seed, DType dtype = DType::f32);

  // Freezes every parameter there is and adds adapters (and a head bias) that are trained instead.
  void add_lora(const LoraOptions& options);

  // Hidden states [B, S, H] after the last layer, before the final norm. With a cache (and without gradients)
  // the S tokens follow those it holds, and are held when this returns; the mask [B, T] then covers both.
  Tensor hidden(const Tensor& ids_BS, const Tensor& positions = {}, const Tensor& mask_BT = {},
                KvCache* cache = nullptr) const;
  Tensor logits(const Tensor& hidden_BSH) const;  // [B, S, V]
  // Mean cross entropy of predicting labels [B, S] (already shifted; -100 is ignored); shape [].
  Tensor loss(const Tensor& ids_BS, const Tensor& labels_BS, const Tensor& positions = {},
              const Tensor& mask_BS = {}) const;

  const ParameterSet& parameters() const { return parameters_; }
  // A weight as a model without adapters would hold it: W + scaling * B A where it is
  // adapted, else the parameter itself.
  Tensor merged(const NamedParameter& p) const;
  bool is_adapter(std::string_view name) const;  // one of add_lora's tensors
  // Whether nothing is trained that the base model has no place for.
  bool exportable() const { return !head_bias_.defined(); }
  const QwenConfig& config() const { return config_; }

 private:
  const Tensor& head_weight() const { return config_.tied ? embed_tokens_ : lm_head_; }

  Device& device_;
  QwenConfig config_;
  ParameterSet parameters_;
  Tensor embed_tokens_;  // [V, H]
  std::vector<const Linear*> adapted_;
  std::vector<std::unique_ptr<QwenLayer>> layers_;
  RmsNorm norm_;
  Tensor lm_head_;    // [V, H]; undefined when tied
  Tensor head_bias_;  // [V]; only with LoRA. The loss then keeps the logits: the fused loss has no bias.
};

}  // namespace reckon::models
