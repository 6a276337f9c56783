#include "calculators/qwen_conventions.h"

#include <cmath>

#include "models/qwen/flops.h"
#include "models/qwen/options.h"
#include "runtime/core/error.h"

namespace reckon::calculators {
namespace {

using models::QwenConfig;

// Products of m x n by n x p as m p (2n - 1).
Exact exact_products(const ProductWork& w) { return w.flops - w.elements; }

// Work of a projection as if it had `wide` instead of `narrow` outputs.
ProductWork widened(const ProductWork& w, int64_t wide, int64_t narrow) {
  return {w.flops * wide / narrow, w.elements * wide / narrow, w.biases * wide / narrow};
}

Exact triple(Exact v) { return v * 3; }

// Every convention below, from parts.
struct FromParts {
  const QwenParts& p;
  const QwenConfig& c;
  Exact B, S, T, N, r;
  ProductWork wide_k = widened(p.k, c.heads, c.kv_heads), wide_v = widened(p.v, c.heads, c.kv_heads);

  Exact coursework() const {
    Exact sum = p.embedded + exact_products(p.q) + exact_products(wide_k) + exact_products(wide_v) +
                exact_products(p.o);
    if (r > 0) sum += 4 * p.embedded * c.layers * r;
    sum += exact_products(p.scores) + 12 * p.scores.elements + exact_products(p.values);
    sum += exact_products(p.gate) + 14 * p.silu + exact_products(p.down);
    sum += 4 * p.norm_elements + 11 * p.norm_rows + p.residuals;
    const ProductWork head = widened(p.head, models::kFlopsVocab, c.vocab);
    return sum + exact_products(head) + 11 * head.elements;
  }
  Exact true_network() const {
    Exact sum = 0;
    for (const ProductWork* w :
         {&p.q, &p.k, &p.v, &p.o, &p.gate, &p.up, &p.down, &p.head, &p.scores, &p.values})
      sum += exact_products(*w) + w->biases;
    sum += 7 * p.rotated / 2;
    sum += 2 * p.scores.elements + 12 * p.scores.elements - p.score_rows;  // scale, mask; softmax
    sum += 14 * p.silu + p.gated + p.residuals;
    sum += 4 * (p.norm_elements + p.head_norm_elements + p.final_norm_elements) +
           11 * (p.norm_rows + p.head_norm_rows + p.final_norm_rows);
    // Exp and sum of every logit; log, the target and the mean per token.
    return sum + 11 * p.head.elements + 11 * T;
  }
  Exact counted_by_operation() const {
    // Full products plus biases: 2 m n k.
    Exact sum = p.embedded + p.q.flops + wide_k.flops + wide_v.flops + exact_products(p.o);
    sum += exact_products(p.scores) + p.scores.elements + 10 * Exact(c.layers) * B;  // division by one root
    sum += 3 * p.scores.elements - p.score_rows + exact_products(p.values);
    sum += exact_products(p.gate) + exact_products(p.up) + exact_products(p.down) + 4 * p.silu;
    sum += 4 * (p.norm_elements + p.final_norm_elements) + p.norm_rows + p.final_norm_rows;
    if (r > 0)
      sum += 2 * Exact(c.layers) *
             (T * (2 * Exact(c.hidden) - 1) * r + T * (2 * r - 1) * c.hidden + 2 * p.embedded);
    return sum + p.head.flops;
  }
  Exact full_width_matmul() const {
    return p.embedded + p.projections() + wide_k.flops - p.k.flops + wide_v.flops - p.v.flops + p.attention() +
           p.feed_forward() + 14 * p.silu + 4 * (p.norm_elements + p.final_norm_elements) +
           11 * (p.norm_rows + p.final_norm_rows) + p.head.flops;
  }
  Exact one_head() const {
    return (p.q.flops + wide_k.flops + wide_v.flops + p.o.flops + p.feed_forward() + p.attention() / c.heads) /
               2 +
           2 * p.residuals + 2 * p.silu;
  }
  Exact lora_forward() const { return p.forward + lora_products(); }
  // Adapters on q and v: T r (in + out) twice over, per layer.
  Exact lora_products() const {
    return Exact(c.layers) * 2 * T * r * (2 * Exact(c.hidden) + Exact(c.heads + c.kv_heads) * c.head_dim);
  }
  Exact lora_backward() const {
    const Exact L = c.layers, qkv = p.q.flops + p.k.flops + p.v.flops;
    // Below the first adapters nothing needs a gradient: no dx through q, k, v and A of layer 0, no dK there.
    return p.o.flops + p.feed_forward() + 2 * p.attention() + p.head.flops + (L - 1) * (qkv / L) +
           2 * lora_products() - 4 * T * r * c.hidden - p.scores.flops / L;
  }
};

// The formulas as their sources state them.
struct Formulas {
  const QwenConfig& c;
  Exact B, S, T, N, r;
  Exact L = c.layers, h = c.hidden, A = c.heads, K = c.kv_heads, D = c.head_dim, I = c.intermediate,
        V = c.vocab;

  Exact matmul() const {
    return L * (2 * T * h * (A + 2 * K) * D + 2 * T * A * D * h + 4 * B * A * S * S * D + 6 * T * h * I) +
           2 * T * h * V;
  }
  Exact attention() const { return L * 4 * B * A * S * S * D; }
  Exact true_network() const {
    const Exact norm = 4 * h + 11;
    Exact layer = T * (2 * h - 1) * (A + 2 * K) * D + (c.qkv_bias ? T * (A + 2 * K) * D : Exact(0)) +
                  7 * (T * (A + K) * D) / 2;
    layer += B * A * S * S * (2 * D - 1) + 2 * B * A * S * S + B * A * S * (12 * S - 1) +
             B * A * S * D * (2 * S - 1);
    layer += T * (2 * A * D - 1) * h + 2 * T * (2 * h - 1) * I + 15 * T * I + T * (2 * I - 1) * h +
             2 * T * norm + 2 * T * h;
    if (c.qk_norm) layer += T * (A + K) * (4 * D + 11);
    return L * layer + T * norm + T * (2 * h - 1) * V + 11 * T * V + 11 * T;
  }
  Exact counted_by_operation() const {
    const Exact norm = 4 * h + 1;
    Exact layer = 3 * T * h * 2 * h + T * (2 * h - 1) * h + B * (A * (S * S * (2 * D - 1) + S * S) + 10) +
                  B * A * (3 * S * S - S) + B * A * S * D * (2 * S - 1) + 2 * T * (2 * h - 1) * I +
                  T * (2 * I - 1) * h + 4 * T * I + 2 * T * norm;
    if (r > 0) layer += 2 * (T * (2 * h - 1) * r + T * (2 * r - 1) * h + 2 * T * h);
    return T * h + L * layer + T * norm + 2 * T * h * V;
  }
  Exact full_width_matmul() const {
    const Exact norm = T * (4 * h + 11);
    return T * h + L * (2 * norm + 8 * T * h * h + 4 * B * S * S * h + 6 * T * h * I + 14 * T * I) + norm +
           2 * T * h * V;
  }
  Exact one_head() const { return T * L * (4 * h * h + 3 * h * I + 2 * S * D + 4 * h + 2 * I); }
  Exact non_embedding() const { return N - V * h * (c.tied ? 1 : 2); }
  Exact palm_step() const { return (6 * N + 12 * L * A * D * S) * T; }
  Exact lookup_step() const {
    return 6 * (2 * V * h + L * (h * (A + 2 * K) * D + A * D * h + 3 * h * I)) * T + 12 * B * S * S * L * A * D;
  }
  Exact lora_products() const { return L * (2 * T * r * (h + A * D) + 2 * T * r * (h + K * D)); }
  Exact lora_backward() const {
    return L * (2 * T * A * D * h + 6 * T * h * I + 8 * B * A * S * S * D) + 2 * T * h * V +
           (L - 1) * 2 * T * h * (A + 2 * K) * D + 2 * lora_products() - 4 * T * r * h - 2 * B * A * S * S * D;
  }
};

constexpr const char* kNoVector = "everything that is no matrix product";

// The rows of the table, in its order.
struct Rows {
  const QwenParts& parts;
  const QwenConfig& c;
  int64_t batch, seq, rank;
  Exact T, counted;  // tokens; parameters
  FromParts f{parts, c, batch, seq, T, counted, 0}, fr{parts, c, batch, seq, T, counted, rank};
  Formulas g{c, batch, seq, T, c.n_parameters(), 0}, gr{c, batch, seq, T, c.n_parameters(), rank};
  std::vector<Convention> rows = {};

  void add(std::string id, std::string rule, std::string leaves, std::optional<Exact> forward,
           std::optional<Exact> step, std::optional<Exact> formula_forward, std::optional<Exact> formula_step) {
    rows.push_back(
        {std::move(id), std::move(rule), std::move(leaves), forward, step, formula_forward, formula_step});
  }
  void tripled(std::string id, std::string rule, std::string leaves, Exact forward, Exact formula) {
    add(std::move(id), std::move(rule), std::move(leaves), forward, triple(forward), formula, triple(formula));
  }

  void of_the_coursework() {
    // That module cuts h x ratio to a whole number, so a quotient rounded down would lose a column.
    double ratio = static_cast<double>(c.intermediate) / static_cast<double>(c.hidden);
    while (static_cast<double>(c.hidden) * ratio < static_cast<double>(c.intermediate))
      ratio = std::nextafter(ratio, INFINITY);
    for (const int64_t r : {int64_t{0}, rank}) {
      const FromParts& x = r ? fr : f;
      tripled(r ? "flops-module-lora" : "flops-module",
              fmt::format("flops_qwen_model of the coursework, r {}", r),
              "third SwiGLU matrix, grouped queries (counts full width), biases, RoPE, scale, mask, gate x up, "
              "final norm" +
                  std::string(r ? "; half of LoRA's products" : ""),
              x.coursework(), models::flops_qwen_model(batch, seq, c.hidden, c.layers, c.heads, ratio, r));
      if (rank == 0) break;
    }
  }
  void of_its_table() {
    tripled("table-1", "the coursework's table (exp, sqrt 10; m p (2n-1)) on the true network",
            "nothing of the forward pass; backward is assumed", f.true_network(), g.true_network());
  }
  void of_sibling_courseworks() {
    tripled("by-operation", "sibling coursework: every operation 1, full-width keys and values",
            "RoPE, mask, residual sums, grouped queries", f.counted_by_operation(), g.counted_by_operation());
    if (rank > 0)
      tripled("by-operation-lora", fmt::format("the same with LoRA r {} on two full-width projections", rank),
              "as above; frozen weights pay gradients", fr.counted_by_operation(), gr.counted_by_operation());
    tripled("full-width-matmul", "sibling coursework: 2mnk, full-width keys and values, norms, SwiGLU 14",
            "softmax, RoPE, residual sums, grouped queries", f.full_width_matmul(), g.full_width_matmul());
    if (rank > 0)
      tripled("full-width-matmul-lora", fmt::format("the same with LoRA r {} on q and v", rank),
              "as above; frozen weights pay gradients", f.full_width_matmul() + fr.lora_products(),
              g.full_width_matmul() + gr.lora_products());
    add("one-head", "sibling coursework: multiply-adds as 1, no head, attention of one head",
        "the output projection, all heads but one, half of every product", std::nullopt, triple(f.one_head()),
        std::nullopt, triple(g.one_head()));
  }
  void of_products() {
    add("matmul", "2mnk, all S^2 scores (Megatron-LM, nanoGPT sizing, torch flop_counter on eager attention)",
        kNoVector, parts.forward, parts.forward + parts.backward, g.matmul(), triple(g.matmul()));
    const Exact hidden_half = parts.attention() * (seq - 1) / (2 * Exact(seq)),
                hidden_formula = g.attention() * (seq - 1) / (2 * Exact(seq));
    tripled("matmul-causal", "2mnk, scores the mask lets through only: (S+1)/2S of them",
            "masked scores, which eager attention computes", parts.forward - hidden_half,
            g.matmul() - hidden_formula);
    add("flop-counter-sdpa", "torch flop_counter, fused attention: 2 products forward, 5 backward", kNoVector,
        parts.forward, parts.forward + parts.backward + parts.attention() / 2, g.matmul(),
        triple(g.matmul()) + g.attention() / 2);
    add("fvcore", "fvcore: a multiply-add is 1", "half of every product; no backward", parts.forward / 2,
        std::nullopt, g.matmul() / 2, std::nullopt);
    tripled("deepspeed", "DeepSpeed profiler: 2mnk, softmax and silu 1 per element",
            "norms, RoPE, sums; backward is assumed", parts.forward + parts.scores.elements + parts.silu,
            g.matmul() + g.L * (g.B * g.A * g.S * g.S + T * c.intermediate));
  }
  void of_parameter_counts() {
    tripled("6nd", "2ND forward, 6ND a step, N all parameters",
            c.tied ? "attention scores; the head is in N by being tied"
                   : "attention scores; counts the lookup as a product",
            2 * counted * T, 2 * g.N * T);
    add("6nd-non-embedding", "6ND, N without embeddings (Hugging Face floating_point_ops)",
        "attention scores and the output projection", std::nullopt,
        6 * (counted - parts.embedded / T * c.vocab * (c.tied ? 1 : 2)) * T, std::nullopt,
        6 * g.non_embedding() * T);
    add("palm", "(6N + 12 L A D S) T (PaLM, nanoGPT estimate_mfu), N all parameters",
        c.tied ? "norms, softmax, RoPE" : "counts the lookup as a product", std::nullopt,
        6 * counted * T + 3 * parts.attention(), std::nullopt, g.palm_step());
    add("lookup-as-matmul", "6 (2Vh + layers) T + 12 S^2 L A D B (verl style)",
        "counts the lookup as a product", std::nullopt,
        triple(parts.head.flops + parts.projections() + parts.feed_forward() + parts.head.flops +
               parts.attention()),
        std::nullopt, g.lookup_step());
  }
  void of_lora() {
    add("lora-needed",
        fmt::format("2mnk that LoRA r {} on q and v really needs: frozen weights get no gradient", rank),
        kNoVector, fr.lora_forward(), fr.lora_forward() + fr.lora_backward(), g.matmul() + gr.lora_products(),
        g.matmul() + gr.lora_products() + gr.lora_backward());
  }
  void of_this_engine(Exact vector_forward, Exact vector_step) {
    add("reckon", "what the ops declare: 2mnk and one per add, multiply, divide, max",
        "exp, log, sqrt, sin, cos (counted apart), copies, optimizer", parts.forward + vector_forward,
        parts.forward + parts.backward + vector_step, std::nullopt, std::nullopt);
  }
};

}  // namespace

std::vector<Convention> conventions_from(const QwenParts& parts, const QwenConfig& c, int64_t batch,
                                         int64_t seq, int64_t n_parameters, int64_t rank, Exact vector_forward,
                                         Exact vector_step) {
  Rows table{parts, c, batch, seq, rank, Exact(batch) * seq, n_parameters};
  const bool square = c.heads * c.head_dim == c.hidden;
  if (square) table.of_the_coursework();
  table.of_its_table();
  if (square) table.of_sibling_courseworks();
  table.of_products();
  table.of_parameter_counts();
  if (rank > 0) table.of_lora();
  table.of_this_engine(vector_forward, vector_step);
  return std::move(table.rows);
}

const Convention& ConventionTable::row(std::string_view id) const {
  for (const Convention& c : rows)
    if (c.id == id) return c;
  raise_error(fmt::format("there is no convention '{}' in this table", id));
}

ConventionTable count_conventions(const ConventionQuestion& q, const DeviceSpec& spec) {
  RECKON_CHECK(q.lora_rank >= 0 && q.lora_rank <= 1 << 20, "--rank must be between 0 and 2^20, got {}",
               q.lora_rank);
  q.config.validate();
  models::RunOptions o;
  o.family = "qwen";
  o.own<models::QwenOptions>().sizes = q.config;
  o.batch = q.batch;
  o.seq = q.seq;
  if (q.checkpoint_block) o.checkpoint = autograd::CheckpointPolicy::block;
  o.resolve();
  ConventionTable t;
  t.question = q;
  const Recording run = record_training(o, spec);
  t.description = run.description;
  t.n_parameters = run.n_parameters;
  t.parts = recorded_parts(run);
  t.executed = t.parts.forward + t.parts.backward + t.parts.recompute;
  Exact vector_forward = 0, vector_step = 0;
  for (const OpCall& c : run.calls) {
    const bool forward = c.phase == Phase::forward || c.phase == Phase::loss;
    if (forward) vector_forward += c.cost.vector_flops;
    if (forward || c.phase == Phase::backward) vector_step += c.cost.vector_flops;
  }
  t.rows = conventions_from(t.parts, q.config, q.batch, q.seq, run.n_parameters, q.lora_rank, vector_forward,
                            vector_step);
  if (q.lora_rank == 0) return t;
  o.own<models::QwenOptions>().lora = models::LoraOptions{.rank = q.lora_rank};
  o.checkpoint = autograd::CheckpointPolicy::none;
  for (const OpCall& c : record_training(o, spec).calls) {
    if (c.phase == Phase::forward || c.phase == Phase::loss) t.lora_recorded_forward += c.cost.matmul_flops;
    t.lora_recorded_step += c.cost.matmul_flops;
  }
  return t;
}

Exact steps_for(double budget, Exact step) {
  RECKON_CHECK(step > 0, "a step of {} FLOPs buys nothing", step.digits());
  RECKON_CHECK(budget > 0 && budget < 0x1p125, "a budget of {} FLOPs is out of range", budget);
  return Exact::truncated(budget) / step;
}

}  // namespace reckon::calculators
