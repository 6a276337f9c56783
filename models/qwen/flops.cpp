#include "models/qwen/flops.h"

#include <cmath>

#include "runtime/core/error.h"

namespace reckon::models {
namespace {

constexpr int64_t kExactInDouble = int64_t{1} << 53;  // below it, sums of whole doubles are exact

void check_size(const char* name, int64_t value, int64_t least) {
  RECKON_CHECK(value >= least, "{} must be at least {}, got {}", name, least, value);
}

Exact tokens(int64_t batch_size, int64_t seq_len, int64_t hidden_dim) {
  check_size("batch_size", batch_size, 1);
  check_size("seq_len", seq_len, 1);
  check_size("hidden_dim", hidden_dim, 1);
  return Exact(batch_size) * seq_len;
}

}  // namespace

Exact flops_embedding(int64_t batch_size, int64_t seq_len, int64_t hidden_dim) {
  return tokens(batch_size, seq_len, hidden_dim) * hidden_dim;
}

Exact flops_attention(int64_t batch_size, int64_t seq_len, int64_t hidden_dim, int64_t num_heads, int64_t r) {
  const Exact T = tokens(batch_size, seq_len, hidden_dim), h = hidden_dim;
  check_size("num_heads", num_heads, 1);
  check_size("r", r, 0);
  const Exact projection = T * h * (2 * h - 1), lora = 4 * T * h * r;
  const Exact scores = Exact(batch_size) * num_heads * seq_len * seq_len;
  if (hidden_dim % num_heads == 0) {
    const Exact d = hidden_dim / num_heads;
    const Exact sum = 3 * projection + lora + scores * (2 * d - 1) + scores * 12 +
                      Exact(batch_size) * num_heads * seq_len * d * (2 * Exact(seq_len) - 1) + projection;
    if (sum < kExactInDouble) return sum;
  }
  // The sum of the floating-point expression, term by term from the left.
  const double d = static_cast<double>(hidden_dim) / static_cast<double>(num_heads);
  double sum = (3 * projection + lora).to_double();
  sum += scores.to_double() * (2 * d - 1);
  sum += (scores * 12).to_double();
  sum += (Exact(batch_size) * num_heads * seq_len).to_double() * d * (2 * Exact(seq_len) - 1).to_double();
  sum += projection.to_double();
  return Exact::truncated(sum);
}

Exact flops_feedforward(int64_t batch_size, int64_t seq_len, int64_t hidden_dim, double ffn_ratio) {
  const Exact T = tokens(batch_size, seq_len, hidden_dim), h = hidden_dim;
  RECKON_CHECK(std::isfinite(ffn_ratio) && ffn_ratio > 0, "ffn_ratio must be a positive number, got {}",
               ffn_ratio);
  const Exact f = Exact::truncated(static_cast<double>(hidden_dim) * ffn_ratio);
  RECKON_CHECK(f >= 1, "a feed-forward of {} x {} has no column", hidden_dim, ffn_ratio);
  return T * ((2 * h - 1) * f) + 14 * T * f + T * ((2 * f - 1) * h);
}

Exact flops_norm(int64_t batch_size, int64_t seq_len, int64_t hidden_dim) {
  return tokens(batch_size, seq_len, hidden_dim) * (4 * Exact(hidden_dim) + 11);
}

Exact flops_transformer_block(int64_t batch_size, int64_t seq_len, int64_t hidden_dim, int64_t num_heads,
                              double ffn_ratio, int64_t r) {
  return flops_attention(batch_size, seq_len, hidden_dim, num_heads, r) +
         flops_feedforward(batch_size, seq_len, hidden_dim, ffn_ratio) +
         2 * flops_norm(batch_size, seq_len, hidden_dim) +
         2 * tokens(batch_size, seq_len, hidden_dim) * hidden_dim;
}

Exact flops_cross_entropy_loss(int64_t batch_size, int64_t seq_len) {
  return tokens(batch_size, seq_len, 1) * 11 * kFlopsVocab;
}

Exact flops_qwen_model(int64_t batch_size, int64_t seq_len, int64_t hidden_dim, int64_t num_layers,
                       int64_t num_heads, double ffn_ratio, int64_t r) {
  check_size("num_layers", num_layers, 0);
  const Exact T = tokens(batch_size, seq_len, hidden_dim);
  return flops_embedding(batch_size, seq_len, hidden_dim) +
         num_layers * flops_transformer_block(batch_size, seq_len, hidden_dim, num_heads, ffn_ratio, r) +
         T * ((2 * Exact(hidden_dim) - 1) * kFlopsVocab) + flops_cross_entropy_loss(batch_size, seq_len);
}

Exact flops_for_experiment(int64_t num_steps, int64_t batch_size, int64_t seq_len, int64_t hidden_dim,
                           int64_t num_layers, int64_t num_heads, double ffn_ratio, int64_t r, bool training) {
  check_size("num_steps", num_steps, 0);
  return num_steps * (flops_qwen_model(batch_size, seq_len, hidden_dim, num_layers, num_heads, ffn_ratio, r) *
                      (training ? 3 : 1));
}

std::vector<std::string> qwen_flops_notes() {
  return {"two of SwiGLU's three matrices are counted",
          "keys and values have the full width, as without grouped queries",
          "no biases of q, k, v; no rotary embedding; no scale of the scores, no mask",
          "no product of gate and up projection; no final norm",
          "LoRA: half of its products (2 h r per projection instead of 2 r (in + out)), no scale, no sum",
          "LoRA pays full weight gradients, since backward is always twice forward",
          "positions are added to the embeddings, which this network does not do"};
}

}  // namespace reckon::models
