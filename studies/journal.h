// A memory journal of a gene-expression transformer, recomputed: what each claim says, what is true,
// and the remedy run for real at a size that fits here, predicted bytes against measured ones.
// Called by `reckon explain journal`.
#pragma once

#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "runtime/core/exact.h"
#include "runtime/device_spec.h"

namespace reckon::calculators {

struct JournalRow {
  int64_t batch, tokens, channels, heads;  // heads 0: not said
  std::string claim, verdict;              // the verdict holds what was computed, not a text of its own
  Exact outer_product;                     // [B, r, r, c, c] f32
  Exact scores;                            // [B, heads, r, r] f32; 0 when heads are not said
  Exact qkv;                               // three of [B, r, c] f32
  Exact projected;  // [B, r, c_z, c] f32, which remains when every product is projected at once, c_z = c
};
std::vector<JournalRow> journal_rows();

// Forward and backward of the outer product mean, at one size, stored and projected at once.
struct OuterProductRun {
  bool project_at_once = false;
  int64_t predicted_peak = 0;  // of a dry run
  int64_t measured_peak = -1;  // of the run on the CPU; -1: was not run
  int64_t n_events = 0;
  bool events_equal = false;
  int64_t stored_outer_bytes = 0;  // the largest allocation of the forward pass
  int64_t matmul_flops = 0;        // forward
  double seconds = 0;              // on the CPU
};

struct JournalExperiment {
  int64_t batch = 1, tokens = 0, channels = 0, pair_channels = 0, model_channels = 0;
  OuterProductRun stored, projected;
  double largest_difference = 0;  // of the two results, over the largest element
};

struct Journal {
  std::vector<JournalRow> rows;
  JournalExperiment experiment;              // on this machine
  std::vector<JournalExperiment> full_size;  // dry runs of the rows whose claims need one
};

JournalExperiment run_outer_product(int64_t batch, int64_t tokens, int64_t channels, bool on_cpu,
                                    const DeviceSpec& spec);
Journal explain_journal(int64_t tokens, int64_t channels, const DeviceSpec& spec);

void write_journal(std::ostream& out, const Journal& j);
nlohmann::ordered_json journal_json(const Journal& j);

}  // namespace reckon::calculators
