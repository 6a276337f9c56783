// Masked-MSA training batches from one alignment: a window of columns, a sample of rows, and the corruption of
// AlphaFold 2's masked-MSA task. Called by the Evoformer training loop. A batch is a pure function of seed and
// step, so resuming needs only the step number.
#pragma once

#include <cstdint>
#include <vector>

#include "models/data/alignment.h"

namespace reckon::data {

constexpr int64_t kMaskToken = 22;  // input symbols: 20 amino acids, unknown, gap, mask
constexpr int64_t kMsaInputSymbols = 23;
constexpr int64_t kMsaTargetClasses = 22;  // the mask is never a target
constexpr int64_t kIgnoredTarget = -100;

struct MsaBatchOptions {
  int64_t batch = 1;
  int64_t n_seq = 0, n_res = 0;
  // Each real position is chosen with `masked`. A chosen position becomes the mask token, or with the
  // three other shares a uniformly drawn amino acid, a draw from its column's profile (over all rows
  // of the alignment, gaps and unknowns included), or stays as it is; the mask token has the
  // remaining share, 70 % by default.
  double masked = 0.15, uniform = 0.10, profile = 0.10, unchanged = 0.10;
  // Whether an alignment smaller than n_seq x n_res may be filled up with rows and columns of msa_mask 0.
  bool allow_padding = false;
};

// Row-major [batch, n_seq, n_res] unless said otherwise.
struct MsaBatch {
  int64_t batch = 0, n_seq = 0, n_res = 0;
  std::vector<int64_t> masked_ids;     // 0..22; padding is the gap
  std::vector<int64_t> targets;        // original residue 0..21 where chosen, -100 elsewhere and in padding
  std::vector<float> has_deletion;     // 1 where residues were inserted before the column
  std::vector<float> deletion_value;   // 2/pi * atan(count / 3)
  std::vector<float> msa_mask;         // 1, 0 in padding
  std::vector<int64_t> residue_index;  // [batch, n_res]: column of the alignment; counts on in padding
  std::vector<int64_t> row_index;      // [batch, n_seq]: row of the alignment; -1 in padding
};

// The alignment must outlive the object. Row 0 of every element is the alignment's first row (the query); the
// others are drawn without replacement. Element b of a step does not depend on the batch size.
class MsaBatches {
 public:
  MsaBatches(const Alignment& alignment, const MsaBatchOptions& options, uint64_t seed);
  MsaBatch at(uint64_t step) const;

 private:
  std::vector<int64_t> sample_rows(uint64_t element, uint64_t step) const;
  void fill(MsaBatch& out, uint64_t element, uint64_t step) const;

  const Alignment* alignment_;
  MsaBatchOptions options_;
  uint64_t seed_;
};

}  // namespace reckon::data
