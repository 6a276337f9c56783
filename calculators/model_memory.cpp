#include "calculators/model_memory.h"

#include <algorithm>

#include "models/train/family.h"
#include "runtime/core/error.h"
#include "runtime/core/format.h"
#include "runtime/events/scope.h"

namespace reckon::calculators {
namespace {

using models::RunOptions;

int64_t maximum(const profiler::RunBooks& books, Category c) {
  int64_t most = 0;
  for (const auto* b : {&books.init, &books.first, &books.last})
    if (*b) most = std::max(most, (*b)->max_by_category[static_cast<size_t>(c)]);
  return most;
}

int64_t most_saved(const profiler::RunBooks& books) {
  return std::max(books.first ? books.first->saved_bytes : 0, books.last ? books.last->saved_bytes : 0);
}

// All-reduce over a ring: every device sends its share twice, except to itself.
Exact ring_all_reduce(Exact bytes, int64_t n) { return 2 * (n - 1) * ceil_div(bytes, n); }
// Reduce-scatter, or all-gather.
Exact ring_half(Exact bytes, int64_t n) { return (n - 1) * ceil_div(bytes, n); }

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

void add_tensor_parallel(ModelMemory& m, const models::DecoderForms& decoder, const Recipe& r, int64_t n,
                         const DeviceSpec& spec) {
  const RunOptions& o = m.question.options;
  models::TensorParallelRank rank;
  try {
    rank = decoder.tensor_parallel_rank(o, n);
  } catch (const Error& e) {
    m.notes.emplace_back(e.what());
    return;
  }
  const Recording run = record_training(rank.options, spec);
  const Exact P = rank.parameters, T = Exact(o.batch) * o.seq, sums = rank.sums;
  const int64_t activation = o.dtype == DType::f32 ? 4 : 2;
  GroupRow row;
  row.scheme = fmt::format("tensor parallel, {}", n);
  row.weights = P * r.weight;
  row.gradients = P * r.gradient;
  row.master = P * r.master;
  row.optimizer = P * r.optimizer;
  row.dry_run_activations = most_saved(run.books);
  row.activations = decoder.saved_bytes(rank.options).value_or(*row.dry_run_activations);
  row.sent = sums * ring_all_reduce(T * rank.width * activation, n) + 3 * ring_all_reduce(T * 4, n);
  row.wire = fmt::format("{} all-reduces of [{}, {}] at {} bytes, three of one number per token for the loss",
                         sums.digits(), T.digits(), rank.width, activation);
  row.dry_run_state = StateElements::of(run).bytes(r);
  m.groups.push_back(std::move(row));
}

void add_kv_cache(ModelMemory& m, const models::DecoderForms& decoder, const DeviceSpec& spec) {
  const RunOptions& o = m.question.options;
  const DType low = o.dtype == DType::f32 ? DType::bf16 : o.dtype;
  for (const DType cache : {DType::f32, low})
    m.rows.push_back({fmt::format("K/V cache in {} (inference)", name_of(cache)),
                      fmt::format("2 L B S K D x {} bytes", size_of(cache)),
                      decoder.kv_cache_bytes(o, o.batch, o.seq, cache),
                      recorded_kv_bytes(o, o.batch, o.seq, cache, spec)});
  m.kv_bytes_per_token = decoder.kv_cache_bytes(o, 1, 1, low).to_int64("K/V bytes per token");
}

// Parameters by formula, or counted where there is none, and those that get a gradient.
struct Reach {
  Exact trained;
  bool has_formula = true;
};

Reach add_parameters(ModelMemory& m, const Recording& run) {
  const models::ParameterFormula f = models::parameters_by_formula(run.options);
  m.parameters_counted = run.n_parameters;
  m.parameters_formula = f.all.value_or(run.n_parameters);
  m.notes = f.notes;
  if (f.unreached) return {m.parameters_formula - *f.unreached};
  const Exact unreached = m.parameters_counted - Exact(maximum(run.books, Category::gradient)) / 4;
  m.notes.push_back(fmt::format("{} parameters got no gradient in the dry run: nothing reads what they make",
                                format_count(unreached)));
  return {m.parameters_formula - unreached, false};
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

Exact recorded_kv_bytes(const RunOptions& o, int64_t batch, int64_t seq, DType dtype, const DeviceSpec& spec) {
  RECKON_CHECK(batch >= 1 && seq >= 1, "a K/V cache needs at least one sequence and one token, got {} and {}",
               batch, seq);
  const auto& decoder = models::family_named(o.family).decoder;
  RECKON_CHECK(decoder, "{} has no K/V cache", o.family);
  Device device(DeviceKind::meta, spec);
  profiler::Ledger ledger;
  device.add_sink(&ledger);
  decoder->fill_kv_cache(o, device, batch, seq, dtype);
  ledger.close();
  int64_t most = 0;
  for (const auto* b :
       {&ledger.books().init, &ledger.books().first, &ledger.books().last, &ledger.books().between})
    if (*b) most = std::max(most, (*b)->max_by_category[static_cast<size_t>(Category::kv_cache)]);
  return most;
}

ModelMemory explain_model(const ModelMemoryQuestion& q, const DeviceSpec& spec) {
  const RunOptions& o = q.options;
  const Recipe& recipe = recipe_named(q.recipe);
  for (const int64_t n : q.devices)
    RECKON_CHECK(n >= 2 && n <= 1 << 20, "a group has 2 to 2^20 devices, got {}", n);
  const Recording run = record_training(o, spec);
  const auto& decoder = models::family_named(o.family).decoder;
  ModelMemory m;
  m.question = q;
  m.description = run.description;
  m.peak_bytes = run.books.for_memory().peak_bytes;
  const auto [trained, reach_has_formula] = add_parameters(m, run);
  const std::optional<Exact> activations = decoder ? decoder->saved_bytes(o) : std::nullopt;
  const Exact saved = most_saved(run.books), P = m.parameters_formula;
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
  if (decoder) add_kv_cache(m, *decoder, spec);
  for (const int64_t n : q.devices) {
    add_data_parallel(m, recipe, trained, activations.value_or(saved), StateElements::of(run), n);
    for (GroupRow& row : m.groups)
      if (!row.dry_run_activations) row.dry_run_activations = saved;
    if (decoder) add_tensor_parallel(m, *decoder, recipe, n, spec);
  }
  return m;
}

}  // namespace reckon::calculators
