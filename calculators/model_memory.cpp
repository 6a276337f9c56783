#include "calculators/model_memory.h"

#include <algorithm>

#include "autograd/fusion.h"
#include "models/af3/config.h"
#include "models/evoformer/config.h"
#include "models/pairformer/config.h"
#include "models/qwen/decoder.h"
#include "models/qwen/folder.h"
#include "models/qwen/qwen.h"
#include "runtime/core/error.h"
#include "runtime/core/format.h"
#include "runtime/events/scope.h"

namespace reckon::calculators {
namespace {

using models::Family;
using models::QwenConfig;
using models::RunOptions;

QwenConfig config_of(const RunOptions& o) {
  if (o.qwen_sizes) return *o.qwen_sizes;
  if (!o.model_dir.empty()) return models::read_folder_config(o.model_dir);
  return o.config.empty() ? QwenConfig::preset(o.preset) : QwenConfig::from_json_file(o.config);
}

int64_t maximum(const profiler::RunBooks& books, Category c) {
  int64_t most = 0;
  for (const auto* b : {&books.init, &books.first, &books.last})
    if (*b) most = std::max(most, (*b)->max_by_category[static_cast<size_t>(c)]);
  return most;
}

int64_t most_saved(const profiler::RunBooks& books) {
  return std::max(books.first ? books.first->saved_bytes : 0, books.last ? books.last->saved_bytes : 0);
}

// Elements of one layer that a plain step keeps besides its input: both normed inputs with their 1/rms, the
// states after attention and feed-forward, q (scaled), k, v, attention output, probabilities, gate, up,
// silu(gate) and the product.
Exact saved_per_layer(const QwenConfig& c, Exact B, Exact S) {
  const Exact T = B * S, h = c.hidden, A = c.heads, K = c.kv_heads, D = c.head_dim;
  Exact n = 4 * T * h + 2 * T + 2 * T * A * D + 2 * T * K * D + B * A * S * S + 4 * T * c.intermediate;
  if (c.qk_norm) n += T * A * D + T * K * D + T * A + T * K;  // what the head norms read, and 1/rms
  return n;
}

// All-reduce over a ring: every device sends its share twice, except to itself.
Exact ring_all_reduce(Exact bytes, int64_t n) { return 2 * (n - 1) * ceil_div(bytes, n); }
// Reduce-scatter, or all-gather.
Exact ring_half(Exact bytes, int64_t n) { return (n - 1) * ceil_div(bytes, n); }

// Parameters of an Evoformer stack under a loss on the alignment alone that have no way to it.
Exact beyond_the_msa_loss(const models::EvoformerConfig& c) {
  const Exact m = c.c_m, z = c.c_z, n = c.c_hidden_opm;
  return 2 * m + 2 * (m * n + n) + n * n * z + z + c.pair_stack().n_parameters();
}

// Elements of a dry run's weights, gradients and pairs of moments: their bytes at their own maxima.
struct StateElements {
  Exact weights, gradients, moments;

  static StateElements of(const Recording& run) {
    // The loss scale of f16 and other optimizers' state are not two moments per parameter.
    const bool adam =
        run.options.optimizer.kind == models::OptimizerKind::adamw && run.options.dtype != DType::f16;
    return {Exact(maximum(run.books, Category::parameter)) / 4,
            Exact(maximum(run.books, Category::gradient)) / 4,
            adam ? Exact(maximum(run.books, Category::optimizer)) / 8
                 : Exact(maximum(run.books, Category::gradient)) / 4};
  }
  Exact bytes(const Recipe& r) const {
    return weights * r.weight + gradients * r.gradient + moments * (r.master + r.optimizer);
  }
};

void add_data_parallel(ModelMemory& m, const Recipe& r, Exact trained, Exact activations,
                       const StateElements& counted, int64_t n) {
  const Exact P = m.parameters_formula;
  const Exact all_w = P * r.weight, all_g = trained * r.gradient, all_m = trained * r.master,
              all_o = trained * r.optimizer;
  const Exact share = ceil_div(trained, n), share_p = ceil_div(P, n);
  const auto add = [&](std::string scheme, Exact w, Exact g, Exact master, Exact o, Exact sent,
                       std::string wire, Exact counted_state) {
    GroupRow row{std::move(scheme), w,           g, master, o, activations, sent, std::move(wire),
                 counted_state,     std::nullopt};
    m.groups.push_back(std::move(row));
  };
  const auto shared = [&](Exact elements) { return ceil_div(elements, n); };
  const Exact moments = shared(counted.moments) * (r.master + r.optimizer);
  add(fmt::format("data parallel, {}", n), all_w, all_g, all_m, all_o, ring_all_reduce(all_g, n),
      "all-reduce of gradients", counted.bytes(r));
  add(fmt::format("ZeRO-1, {}", n), all_w, all_g, share * r.master, share * r.optimizer,
      ring_half(all_g, n) + ring_half(all_w, n), "reduce-scatter of gradients, all-gather of weights",
      counted.weights * r.weight + counted.gradients * r.gradient + moments);
  add(fmt::format("ZeRO-2, {}", n), all_w, share * r.gradient, share * r.master, share * r.optimizer,
      ring_half(all_g, n) + ring_half(all_w, n), "the same",
      counted.weights * r.weight + shared(counted.gradients) * r.gradient + moments);
  add(fmt::format("ZeRO-3, {}", n), share_p * r.weight, share * r.gradient, share * r.master,
      share * r.optimizer, ring_half(all_g, n) + 2 * ring_half(all_w, n),
      "reduce-scatter of gradients, all-gather of weights twice (forward, backward)",
      shared(counted.weights) * r.weight + shared(counted.gradients) * r.gradient + moments);
}

void add_tensor_parallel(ModelMemory& m, const Recipe& r, int64_t n, const DeviceSpec& spec) {
  const RunOptions& o = m.question.options;
  QwenConfig rank;
  try {
    rank = tensor_parallel_rank(config_of(o), n);
  } catch (const Error& e) {
    m.notes.emplace_back(e.what());
    return;
  }
  RunOptions options = o;
  options.model_dir.clear();
  options.config.clear();
  options.qwen_sizes = rank;
  const Recording run = record_training(options, spec);
  const Exact P = rank.n_parameters(), T = Exact(o.batch) * o.seq;
  const int64_t activation = o.dtype == DType::f32 ? 4 : 2;
  const bool twice = o.checkpoint != autograd::CheckpointPolicy::none;
  // Forward: attention, feed-forward of every layer, the embedding; backward: their inputs, and the head's.
  // Recompute repeats the layers'.
  const Exact sums = Exact(rank.layers) * (twice ? 6 : 4) + 2;
  const Exact one = T * rank.hidden * activation;
  GroupRow row;
  row.scheme = fmt::format("tensor parallel, {}", n);
  row.weights = P * r.weight;
  row.gradients = P * r.gradient;
  row.master = P * r.master;
  row.optimizer = P * r.optimizer;
  row.dry_run_activations = most_saved(run.books);
  row.activations = qwen_saved_bytes(rank, options).value_or(*row.dry_run_activations);
  row.sent = sums * ring_all_reduce(one, n) + 3 * ring_all_reduce(T * 4, n);
  row.wire = fmt::format("{} all-reduces of [{}, {}] at {} bytes, three of one number per token for the loss",
                         sums.digits(), T.digits(), rank.hidden, activation);
  row.dry_run_state = StateElements::of(run).bytes(r);
  m.groups.push_back(std::move(row));
}

}  // namespace

const std::vector<Recipe>& recipes() {
  static const std::vector<Recipe> all{
      {"f32", "everything in f32 (and this engine under bf16 or f16: f32 weights are the master weights)", 4, 4,
       0, 8},
      {"mixed", "bf16 or f16 weights and gradients, f32 master weights, f32 Adam moments", 2, 2, 4, 8},
      {"pure-bf16", "everything in bf16, Adam moments included: updates below 2^-8 of a weight are lost", 2, 2,
       0, 4},
  };
  return all;
}

const Recipe& recipe_named(std::string_view id) {
  std::vector<std::string_view> known;
  for (const Recipe& r : recipes()) {
    if (r.id == id) return r;
    known.push_back(r.id);
  }
  raise_error(fmt::format("unknown recipe '{}': expected one of {}", id, fmt::join(known, ", ")));
}

Exact kv_cache_bytes(const QwenConfig& c, int64_t batch, int64_t seq, DType dtype) {
  return 2 * Exact(c.layers) * batch * seq * c.kv_heads * c.head_dim * static_cast<int64_t>(size_of(dtype));
}

Exact recorded_kv_bytes(const QwenConfig& c, int64_t batch, int64_t seq, DType dtype, const DeviceSpec& spec) {
  RECKON_CHECK(batch >= 1 && seq >= 1, "a K/V cache needs at least one sequence and one token, got {} and {}",
               batch, seq);
  Device device(DeviceKind::meta, spec);
  profiler::Ledger ledger;
  device.add_sink(&ledger);
  {
    const autograd::FusionScope fusions(autograd::FusionSet::parse("attention"));
    const models::Qwen model(device, c, 1);
    // The last new token is never read, so the cache ends up with room for `seq`: all but one in the first
    // pass, one in a second.
    const std::vector<int64_t> prompt(static_cast<size_t>(std::max<int64_t>(1, seq - 1)), 0);
    models::DecodeOptions o;
    o.max_new_tokens = seq + 1 - static_cast<int64_t>(prompt.size());
    o.cache_dtype = dtype;
    models::decode(model, device, prompt, batch, o);
  }
  ledger.close();
  int64_t most = 0;
  for (const auto* b :
       {&ledger.books().init, &ledger.books().first, &ledger.books().last, &ledger.books().between})
    if (*b) most = std::max(most, (*b)->max_by_category[static_cast<size_t>(Category::kv_cache)]);
  return most;
}

std::optional<Exact> qwen_saved_bytes(const QwenConfig& c, const RunOptions& o) {
  using autograd::CheckpointPolicy;
  if (o.dtype != DType::f32 || o.fuse != autograd::FusionSet::none() || o.lora) return std::nullopt;
  const Exact B = o.batch, S = o.seq, T = B * S, h = c.hidden, L = c.layers;
  const Exact layer = saved_per_layer(c, B, S);
  // The final norm's result and 1/rms, logits, and one number per token of the loss.
  const Exact head = T * h + T + T * c.vocab + T;
  if (o.checkpoint == CheckpointPolicy::none) return 4 * (T * h + L * layer + head);
  if (o.checkpoint != CheckpointPolicy::block) return std::nullopt;
  // Inputs of all layers, and either the end of the forward pass or the rebuilt last layer (its result is
  // nobody's input then).
  return 4 * (L * T * h + std::max(T * h + head, layer - T * h));
}

QwenConfig tensor_parallel_rank(const QwenConfig& c, int64_t n) {
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

ModelMemory explain_model(const ModelMemoryQuestion& q, const DeviceSpec& spec) {
  const RunOptions& o = q.options;
  const Recipe& recipe = recipe_named(q.recipe);
  for (const int64_t n : q.devices)
    RECKON_CHECK(n >= 2 && n <= 1 << 20, "a group has 2 to 2^20 devices, got {}", n);
  const Recording run = record_training(o, spec);
  ModelMemory m;
  m.question = q;
  m.description = run.description;
  m.parameters_counted = run.n_parameters;
  m.peak_bytes = run.books.for_memory().peak_bytes;
  std::optional<Exact> activations;
  Exact unreached = 0;  // parameters that no gradient reaches
  bool reach_has_formula = true;
  if (o.family == Family::qwen) {
    const QwenConfig c = config_of(o);
    m.parameters_formula = c.n_parameters();
    activations = qwen_saved_bytes(c, o);
  } else if (o.family == Family::pairformer) {
    m.parameters_formula = models::PairformerConfig::preset(o.preset).n_parameters();
  } else if (o.family == Family::af3) {
    m.parameters_formula = models::af3::Config::preset(o.preset).n_parameters();
    reach_has_formula = false;
    unreached = m.parameters_counted - Exact(maximum(run.books, Category::gradient)) / 4;
    m.notes.push_back(fmt::format("{} parameters got no gradient in the dry run: nothing reads what they make",
                                  format_count(unreached)));
  } else {
    // The blocks' closed form has its own test; the embeddings have none.
    m.parameters_formula = run.n_parameters;
    m.notes.emplace_back(
        "the Evoformer model's parameters are counted; the closed form covers its blocks only");
    unreached = beyond_the_msa_loss(models::EvoformerConfig::preset(o.preset));
    m.notes.push_back(
        fmt::format("the loss reads the alignment only, so the last block's outer product and pair updates ({} "
                    "parameters) get no gradient and no moments",
                    format_count(unreached)));
  }
  const Exact saved = most_saved(run.books), P = m.parameters_formula, trained = P - unreached;
  const auto add = [&](std::string what, std::string rule, std::optional<Exact> formula,
                       std::optional<Exact> counted) {
    m.rows.push_back({std::move(what), std::move(rule), formula, counted});
  };
  const bool adam = o.optimizer.kind == models::OptimizerKind::adamw;
  add("weights", "4 x parameters", 4 * P, maximum(run.books, Category::parameter));
  add("gradients", "4 x trained parameters", reach_has_formula ? std::optional(4 * trained) : std::nullopt,
      maximum(run.books, Category::gradient));
  add("optimizer state", "8 x trained parameters (two f32 moments)",
      adam && reach_has_formula && o.dtype != DType::f16 ? std::optional(8 * trained) : std::nullopt,
      maximum(run.books, Category::optimizer));
  add("master weights", "none beside them: the f32 weights are the master weights", Exact(0), std::nullopt);
  add("low-precision copies",
      o.dtype == DType::f32 ? "0 in f32" : "casts of weights and activations, each at its own maximum",
      o.dtype == DType::f32 ? std::optional(Exact(0)) : std::nullopt, maximum(run.books, Category::cast));
  add("activations",
      activations ? "closed form of what a plain step keeps for backward"
                  : "kept for backward; no closed form for this setting",
      activations, saved);
  if (o.family == Family::qwen) {
    const QwenConfig c = config_of(o);
    const DType low = o.dtype == DType::f32 ? DType::bf16 : o.dtype;
    for (const DType cache : {DType::f32, low})
      add(fmt::format("K/V cache in {} (inference)", name_of(cache)),
          fmt::format("2 L B S K D x {} bytes", size_of(cache)), kv_cache_bytes(c, o.batch, o.seq, cache),
          recorded_kv_bytes(c, o.batch, o.seq, cache, spec));
    m.kv_bytes_per_token = kv_cache_bytes(c, 1, 1, low).to_int64("K/V bytes per token");
  }
  for (const int64_t n : q.devices) {
    add_data_parallel(m, recipe, trained, activations.value_or(saved), StateElements::of(run), n);
    for (GroupRow& row : m.groups)
      if (!row.dry_run_activations) row.dry_run_activations = saved;
    if (o.family == Family::qwen) add_tensor_parallel(m, recipe, n, spec);
  }
  return m;
}

}  // namespace reckon::calculators
