// The FLOPs of one Qwen training step under the conventions in use, side by side: each derived from one
// recorded dry run, with the convention's own closed formula as a check, what it leaves out, how many steps a
// budget buys, and MFU and HFU. Called by `reckon flops qwen`.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "calculators/qwen_parts.h"

namespace reckon::calculators {

struct Convention {
  std::string id;    // short, stable: "matmul", "6nd", ...
  std::string rule;  // how it counts
  std::string leaves_out;
  std::optional<Exact> forward, step;  // from the dry run; none where the convention does not say
  std::optional<Exact> formula_forward, formula_step;
  bool has_formula() const { return formula_forward || formula_step; }
  bool agrees() const { return !has_formula() || (forward == formula_forward && step == formula_step); }
};

struct ConventionQuestion {
  models::QwenConfig config;
  int64_t batch = 4, seq = 512;
  int64_t lora_rank = 8;  // of the rows about adapters on q_proj and v_proj
  bool checkpoint_block = false;
  std::optional<double> budget;  // FLOPs
  std::optional<double> step_seconds;
  std::optional<double> peak_flops;  // FLOP/s
  std::string peak_name;             // what that rate is
};

struct ConventionTable {
  ConventionQuestion question;
  std::string description;  // of the model that ran
  int64_t n_parameters = 0;
  std::vector<Convention> rows;
  QwenParts parts;
  Exact executed;                                   // matrix FLOPs that ran, recompute included
  Exact lora_recorded_forward, lora_recorded_step;  // of a second dry run, with the adapters

  const Convention& row(std::string_view id) const;  // Error when there is none
};

ConventionTable count_conventions(const ConventionQuestion& question, const DeviceSpec& spec);
// Two sides of every row: from parts (recorded ones), and closed forms over the config.
std::vector<Convention> conventions_from(const QwenParts& parts, const models::QwenConfig& config,
                                         int64_t batch, int64_t seq, int64_t n_parameters, int64_t lora_rank,
                                         Exact vector_forward, Exact vector_step);

// Steps that a budget buys, cut to whole ones.
Exact steps_for(double budget, Exact step);

void write_conventions(std::ostream& out, const ConventionTable& table);
nlohmann::ordered_json conventions_json(const ConventionTable& table);

}  // namespace reckon::calculators
