// Where the bytes of training and of inference go, by formula and by a dry run of the engine, on one device and
// over groups of devices (data parallel, sharded state, tensor parallel) with the bytes each device sends.
// Called by `reckon explain model`.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "calculators/dry_run.h"
#include "runtime/core/exact.h"

namespace reckon::calculators {

// Bytes per parameter of a way to train.
struct Recipe {
  std::string_view id, what;
  int64_t weight, gradient, master, optimizer;
  int64_t sum() const { return weight + gradient + master + optimizer; }
};
const std::vector<Recipe>& recipes();
const Recipe& recipe_named(std::string_view id);  // Error lists the known ones

struct MemoryRow {
  std::string what, rule;
  std::optional<Exact> formula, dry_run;
  bool agrees() const { return !formula || !dry_run || *formula == *dry_run; }
};

// One device of a group.
struct GroupRow {
  std::string scheme;
  Exact weights, gradients, master, optimizer, activations;
  Exact sent;                          // bytes this device sends per step
  std::string wire;                    // what goes over the wire
  std::optional<Exact> dry_run_state;  // weights, gradients, master and optimizer, from counted parameters
  std::optional<Exact> dry_run_activations;
  Exact state() const { return weights + gradients + master + optimizer; }
  Exact sum() const { return state() + activations; }
};

struct ModelMemoryQuestion {
  models::RunOptions options;       // resolved
  std::string recipe = "f32";       // of the groups
  std::vector<int64_t> devices{8};  // group sizes
};

struct ModelMemory {
  ModelMemoryQuestion question;
  std::string description;
  Exact parameters_formula, parameters_counted;
  std::vector<MemoryRow> rows;  // one device
  std::vector<GroupRow> groups;
  std::vector<std::string> notes;  // schemes that cannot be, and why
  int64_t peak_bytes = 0;
  int64_t kv_bytes_per_token = 0;  // 0: the model has no K/V cache
};

ModelMemory explain_model(const ModelMemoryQuestion& question, const DeviceSpec& spec);

// Bytes of the K/V cache of a decoder (Error for other families), from a dry run of decoding until it holds
// `seq` tokens: the ledger's category kv_cache at its fullest.
Exact recorded_kv_bytes(const models::RunOptions& options, int64_t batch, int64_t seq, DType dtype,
                        const DeviceSpec& spec);

void write_model_memory(std::ostream& out, const ModelMemory& m);
nlohmann::ordered_json model_memory_json(const ModelMemory& m);

}  // namespace reckon::calculators
