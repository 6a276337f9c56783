#include "calculators/qwen_parts.h"

#include <map>
#include <string_view>

#include "models/qwen/options.h"
#include "runtime/core/error.h"

namespace reckon::calculators {
namespace {

Exact elements_of(const OpCall& c) {
  Exact n = 0;
  for (const MadeTensor& t : c.outputs) n += numel(t.shape);
  return n;
}

void add(ProductWork& w, const OpCall& c) {
  const Exact made = numel(c.outputs.at(0).shape);
  w.flops += c.cost.matmul_flops;
  w.elements += made;
  w.biases += c.cost.vector_flops;
}

Exact rows_of(const Shape& shape) { return Exact(numel(shape)) / shape.back(); }

std::string_view last_name(std::string_view path) {
  const size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? path : path.substr(dot + 1);
}

void add_linear(QwenParts& p, const OpCall& c, std::string_view module) {
  const std::map<std::string_view, ProductWork*> by_name{
      {"q_proj", &p.q},       {"k_proj", &p.k},   {"v_proj", &p.v},       {"o_proj", &p.o},
      {"gate_proj", &p.gate}, {"up_proj", &p.up}, {"down_proj", &p.down}, {"lm_head", &p.head}};
  const auto found = by_name.find(last_name(module));
  RECKON_CHECK(found != by_name.end(),
               "a linear op of module '{}' is none of this network's projections: adapters are counted apart",
               module);
  add(*found->second, c);
}

}  // namespace

QwenParts recorded_parts(const Recording& run) {
  RECKON_CHECK(run.options.family == "qwen", "these parts are a Qwen decoder's, the run is of {}",
               run.options.family);
  RECKON_CHECK(run.options.fuse == autograd::FusionSet::none() && !run.options.own<models::QwenOptions>().lora,
               "the parts are read from a plain run: leave out --fuse and --lora");
  QwenParts p;
  bool scores_next = true;
  for (const OpCall& c : run.calls) {
    if (c.phase == Phase::backward) p.backward += c.cost.matmul_flops;
    if (c.phase == Phase::recompute) p.recompute += c.cost.matmul_flops;
    if (c.phase != Phase::forward && c.phase != Phase::loss) continue;
    p.forward += c.cost.matmul_flops;
    const std::string_view op = name_of(c.op), module = name_of(c.module);
    const bool in_attention = last_name(module) == "self_attn";
    if (op == "linear") add_linear(p, c, module);
    if (op == "matmul" && in_attention) {
      add(scores_next ? p.scores : p.values, c);
      scores_next = !scores_next;
    }
    if (op == "rope") p.rotated += elements_of(c);
    if (op == "softmax") p.score_rows += rows_of(c.outputs.at(0).shape);
    if (op == "silu") p.silu += elements_of(c);
    if (op == "mul" && last_name(module) == "mlp") p.gated += elements_of(c);
    if (op == "add" && !in_attention) p.residuals += elements_of(c);
    if (op == "embedding") p.embedded += elements_of(c);
    if (op == "rms_norm") {
      const Shape& shape = c.outputs.at(0).shape;
      const bool last = module == "norm",
                 of_head = last_name(module) == "q_norm" || last_name(module) == "k_norm";
      (last ? p.final_norm_elements : of_head ? p.head_norm_elements : p.norm_elements) += numel(shape);
      (last ? p.final_norm_rows : of_head ? p.head_norm_rows : p.norm_rows) += rows_of(shape);
    }
  }
  return p;
}

QwenParts parts_by_formula(const models::QwenConfig& c, int64_t batch, int64_t seq, bool checkpoint_block) {
  const Exact B = batch, S = seq, T = B * S, L = c.layers, h = c.hidden, A = c.heads, K = c.kv_heads,
              D = c.head_dim, I = c.intermediate, V = c.vocab;
  const auto linear = [&](Exact in, Exact out, bool bias) {
    return ProductWork{L * 2 * T * in * out, L * T * out, bias ? L * T * out : Exact(0)};
  };
  QwenParts p;
  p.q = linear(h, A * D, c.qkv_bias);
  p.k = p.v = linear(h, K * D, c.qkv_bias);
  p.o = linear(A * D, h, false);
  p.gate = p.up = linear(h, I, false);
  p.down = linear(I, h, false);
  p.head = {2 * T * h * V, T * V, 0};
  p.scores = {L * 2 * B * A * S * S * D, L * B * A * S * S, 0};
  p.values = {L * 2 * B * A * S * S * D, L * T * A * D, 0};
  p.rotated = L * T * (A + K) * D;
  p.score_rows = L * B * A * S;
  p.silu = p.gated = L * T * I;
  p.norm_elements = L * 2 * T * h;
  p.norm_rows = L * 2 * T;
  if (c.qk_norm) {
    p.head_norm_elements = L * T * (A + K) * D;
    p.head_norm_rows = L * T * (A + K);
  }
  p.final_norm_elements = T * h;
  p.final_norm_rows = T;
  p.residuals = L * 2 * T * h;
  p.embedded = T * h;
  p.forward = L * (2 * T * h * (A + 2 * K) * D + 2 * T * A * D * h + 4 * B * A * S * S * D + 6 * T * h * I) +
              2 * T * h * V;
  p.backward = 2 * p.forward;
  p.recompute = checkpoint_block ? p.forward - p.head.flops : Exact(0);
  return p;
}

}  // namespace reckon::calculators
