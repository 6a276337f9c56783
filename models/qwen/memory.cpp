#include "models/qwen/memory.h"

#include <algorithm>

#include "autograd/fusion.h"
#include "models/qwen/decoder.h"
#include "models/qwen/options.h"
#include "runtime/core/error.h"

namespace reckon::models {
namespace {

// Elements of one layer that a plain step keeps besides its input: both normed inputs with their 1/rms, the
// states after attention and feed-forward, q (scaled), k, v, attention output, probabilities, gate, up,
// silu(gate) and the product.
Exact saved_per_layer(const QwenConfig& c, Exact B, Exact S) {
  const Exact T = B * S, h = c.hidden, A = c.heads, K = c.kv_heads, D = c.head_dim;
  Exact n = 4 * T * h + 2 * T + 2 * T * A * D + 2 * T * K * D + B * A * S * S + 4 * T * c.intermediate;
  if (c.qk_norm) n += T * A * D + T * K * D + T * A + T * K;  // what the head norms read, and 1/rms
  return n;
}

void fill_kv_cache(const RunOptions& o, Device& device, int64_t batch, int64_t seq, DType cache) {
  const autograd::FusionScope fusions(autograd::FusionSet::parse("attention"));
  const Qwen model(device, qwen_config(o), 1);
  // The last new token is never read, so the cache ends up with room for `seq`: all but one in
  // the first pass, one in a second.
  const std::vector<int64_t> prompt(static_cast<size_t>(std::max<int64_t>(1, seq - 1)), 0);
  DecodeOptions d;
  d.max_new_tokens = seq + 1 - static_cast<int64_t>(prompt.size());
  d.cache_dtype = cache;
  decode(model, device, prompt, batch, d);
}

TensorParallelRank tensor_parallel_rank(const RunOptions& o, int64_t devices) {
  const QwenConfig c = tensor_parallel_config(qwen_config(o), devices);
  TensorParallelRank r{o, c.n_parameters(), 0, c.hidden};
  auto& own = r.options.own<QwenOptions>();
  own.model_dir.clear();
  own.config.clear();
  own.sizes = c;
  // Forward: attention, feed-forward of every layer, the embedding; backward: their inputs, and the head's.
  // Recompute repeats the layers'.
  r.sums = c.layers * (o.checkpoint == autograd::CheckpointPolicy::none ? 4 : 6) + 2;
  return r;
}

}  // namespace

std::optional<Exact> qwen_saved_bytes(const RunOptions& o) {
  using autograd::CheckpointPolicy;
  if (o.dtype != DType::f32 || o.fuse != autograd::FusionSet::none() || o.own<QwenOptions>().lora)
    return std::nullopt;
  const QwenConfig c = qwen_config(o);
  const Exact B = o.batch, S = o.seq, T = B * S, h = c.hidden, L = c.layers;
  const Exact layer = saved_per_layer(c, B, S);
  // The final norm's result and 1/rms, logits, and two numbers per token of the loss.
  const Exact head = T * h + T + T * c.vocab + 2 * T;
  if (o.checkpoint == CheckpointPolicy::none) return 4 * (T * h + L * layer + head);
  if (o.checkpoint != CheckpointPolicy::block) return std::nullopt;
  // Inputs of all layers, and either the end of the forward pass or the rebuilt last layer (its result is
  // nobody's input then).
  return 4 * (L * T * h + std::max(T * h + head, layer - T * h));
}

Exact kv_cache_bytes(const QwenConfig& c, int64_t batch, int64_t seq, DType dtype) {
  return 2 * Exact(c.layers) * batch * seq * c.kv_heads * c.head_dim * static_cast<int64_t>(size_of(dtype));
}

QwenConfig tensor_parallel_config(const QwenConfig& c, int64_t n) {
  RECKON_CHECK(n >= 1, "a group needs at least 1 device, got {}", n);
  QwenConfig r = c;
  r.name = fmt::format("{} / {}", c.name, n);
  for (const auto& [what, size] : {std::pair<const char*, int64_t*>{"attention heads", &r.heads},
                                   {"key/value heads", &r.kv_heads},
                                   {"feed-forward columns", &r.intermediate},
                                   {"vocabulary rows", &r.vocab}}) {
    RECKON_CHECK(*size % n == 0, "{}: {} {} cannot be split over {} devices", c.name, *size, what, n);
    *size /= n;
  }
  return r;
}

DecoderForms qwen_decoder_forms() {
  return {.saved_bytes = qwen_saved_bytes,
          .kv_cache_bytes = [](const RunOptions& o, int64_t batch, int64_t seq,
                               DType cache) { return kv_cache_bytes(qwen_config(o), batch, seq, cache); },
          .fill_kv_cache = fill_kv_cache,
          .tensor_parallel_rank = tensor_parallel_rank};
}

}  // namespace reckon::models
