// Masked-residue batches from one alignment: each element is one sampled row, a window of its
// columns with some residues hidden, and the profile of those columns over all other rows. Called
// by the Pairformer training loop.
#pragma once

#include <cstdint>
#include <vector>

#include "models/data/alignment.h"
#include "models/data/msa_batches.h"

namespace reckon::data {

constexpr int64_t kProfileWidth = kMsaTargetClasses;

// Row-major [batch, n_res] unless said otherwise.
struct ResidueBatch {
  int64_t batch = 0, n_res = 0;
  std::vector<int64_t> masked_ids;     // 0..22
  std::vector<int64_t> targets;        // the true residue 0..21 where masked, -100 elsewhere
  std::vector<float> profile;          // [batch, n_res, 22]; sums to 1
  std::vector<int64_t> residue_index;  // column of the alignment
  std::vector<int64_t> row_index;      // [batch]
};

// A pure function of seed and step, element by element. The alignment must outlive the object.
//
// The row's own residues are taken out of the profile, so a hidden residue is not among the counts its
// prediction is made from; the other rows stay complete. Rows, windows and corruption are those of MsaBatches
// with two rows, of which the second, never the alignment's first, is the sequence. Where chance hid nothing in
// a row, one residue is, so that the mean over hidden residues always exists.
class ResidueBatches {
 public:
  ResidueBatches(const Alignment& alignment, int64_t batch, int64_t n_res, uint64_t seed);
  ResidueBatch at(uint64_t step) const;

 private:
  const Alignment* alignment_;
  MsaBatches rows_;
  std::vector<int32_t> counts_;  // [columns, 22] over all rows
};

}  // namespace reckon::data
