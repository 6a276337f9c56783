#include "models/data/msa_batches.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <unordered_map>

#include "runtime/core/error.h"
#include "runtime/core/rng.h"

namespace reckon::data {
namespace {

// What a generator is for; each purpose has its own numbers.
enum class Draw : uint64_t { window = 1, rows = 2, masks = 3 };

// One generator per element, step and purpose, whose counter is then free to number rows or positions. Step and
// element go through the bijection to become its seed and stream.
Philox generator(uint64_t seed, Draw draw, uint64_t element, uint64_t step) {
  const PhiloxBlock mixed = Philox{seed, (static_cast<uint64_t>(draw) << 56) | element}(step);
  return {(static_cast<uint64_t>(mixed[1]) << 32) | mixed[0],
          (static_cast<uint64_t>(mixed[3]) << 32) | mixed[2]};
}

}  // namespace

MsaBatches::MsaBatches(const Alignment& alignment, const MsaBatchOptions& options, uint64_t seed)
    : alignment_(&alignment), options_(options), seed_(seed) {
  const auto& o = options_;
  RECKON_CHECK(
      o.batch >= 1 && o.n_seq >= 1 && o.n_res >= 1 && o.batch < (1 << 20) && o.n_seq < (1 << 24) &&
          o.n_res < (1 << 24),
      "batch of {} crops of {} rows x {} columns, expected each to be at least 1 (and below 2^20, 2^24, 2^24)",
      o.batch, o.n_seq, o.n_res);
  RECKON_CHECK(o.n_seq * o.n_res <= (int64_t{1} << 40) / o.batch,
               "batch of {} crops of {} rows x {} columns is above "
               "2^40 positions",
               o.batch, o.n_seq, o.n_res);
  const double rest = 1.0 - o.uniform - o.profile - o.unchanged;
  RECKON_CHECK(
      o.masked >= 0 && o.masked <= 1 && o.uniform >= 0 && o.profile >= 0 && o.unchanged >= 0 && rest >= -1e-9,
      "masked share {}, of it uniform {}, profile {}, unchanged {}: expected shares from 0 to 1 that leave {} "
      ">= 0 for the mask token",
      o.masked, o.uniform, o.profile, o.unchanged, rest);
  RECKON_CHECK(alignment.n_seq >= 1 && alignment.n_res >= 1, "empty alignment");
  RECKON_CHECK(
      o.allow_padding || (alignment.n_seq >= o.n_seq && alignment.n_res >= o.n_res),
      "crop of {} rows x {} columns, but the alignment has {} rows x {} columns: ask for a smaller crop or "
      "allow padding",
      o.n_seq, o.n_res, alignment.n_seq, alignment.n_res);
}

// The query, then a partial Fisher-Yates shuffle of the other rows; the map holds only the swapped entries.
std::vector<int64_t> MsaBatches::sample_rows(uint64_t element, uint64_t step) const {
  const Philox rng = generator(seed_, Draw::rows, element, step);
  const int64_t n_others = alignment_->n_seq - 1;
  std::vector<int64_t> rows(static_cast<size_t>(options_.n_seq), -1);
  rows[0] = 0;
  std::unordered_map<int64_t, int64_t> moved;
  const auto entry = [&](int64_t i) {
    const auto found = moved.find(i);
    return found == moved.end() ? i + 1 : found->second;
  };
  for (int64_t i = 0; i < std::min(options_.n_seq - 1, n_others); ++i) {
    const auto below = static_cast<uint64_t>(n_others - i);
    const int64_t pick = i + static_cast<int64_t>(uniform_below(rng(static_cast<uint64_t>(i)), below));
    rows[static_cast<size_t>(i + 1)] = entry(pick);
    moved[pick] = entry(i);
  }
  return rows;
}

void MsaBatches::fill(MsaBatch& out, uint64_t element, uint64_t step) const {
  const Alignment& a = *alignment_;
  const auto& o = options_;
  const int64_t n_starts = std::max<int64_t>(a.n_res - o.n_res, 0) + 1;
  const auto start = static_cast<int64_t>(
      uniform_below(generator(seed_, Draw::window, element, step)(0), static_cast<uint64_t>(n_starts)));
  const auto rows = sample_rows(element, step);
  const Philox rng = generator(seed_, Draw::masks, element, step);
  const auto base = static_cast<int64_t>(element);
  for (int64_t r = 0; r < o.n_res; ++r) out.residue_index[static_cast<size_t>(base * o.n_res + r)] = start + r;
  std::ranges::copy(rows, out.row_index.begin() + base * o.n_seq);

  for (int64_t s = 0; s < o.n_seq; ++s) {
    const int64_t row = rows[static_cast<size_t>(s)];
    for (int64_t r = 0; r < o.n_res; ++r) {
      const auto at = static_cast<size_t>((base * o.n_seq + s) * o.n_res + r);
      const int64_t column = start + r;
      if (row < 0 || column >= a.n_res) continue;  // padding, as initialised
      const auto from = static_cast<size_t>(row * a.n_res + column);
      const int64_t residue = a.residues[from];
      out.msa_mask[at] = 1.0f;
      out.has_deletion[at] = a.deletions[from] > 0 ? 1.0f : 0.0f;
      out.deletion_value[at] =
          2.0f * std::numbers::inv_pi_v<float> * std::atan(static_cast<float>(a.deletions[from]) / 3.0f);
      out.masked_ids[at] = residue;
      // Two blocks per position: choice and kind of change, then the drawn amino acid or row.
      const auto counter = 2 * static_cast<uint64_t>(s * o.n_res + r);
      const auto choice = uniform_open(rng(counter));
      if (static_cast<double>(choice[0]) >= o.masked) continue;
      out.targets[at] = residue;
      const double kind = choice[1];
      const auto draw = rng(counter + 1);
      if (kind < o.uniform) {
        out.masked_ids[at] = static_cast<int64_t>(uniform_below(draw, 20));
      } else if (kind < o.uniform + o.profile) {
        // The residue of a random row of the whole alignment is a draw from the column's profile.
        const auto any = static_cast<int64_t>(uniform_below(draw, static_cast<uint64_t>(a.n_seq)));
        out.masked_ids[at] = a.residues[static_cast<size_t>(any * a.n_res + column)];
      } else if (kind >= o.uniform + o.profile + o.unchanged) {
        out.masked_ids[at] = kMaskToken;
      }
    }
  }
}

MsaBatch MsaBatches::at(uint64_t step) const {
  const auto& o = options_;
  const auto n = static_cast<size_t>(o.batch * o.n_seq * o.n_res);
  MsaBatch out;
  out.batch = o.batch;
  out.n_seq = o.n_seq;
  out.n_res = o.n_res;
  out.masked_ids.assign(n, kGapResidue);
  out.targets.assign(n, kIgnoredTarget);
  out.has_deletion.assign(n, 0.0f);
  out.deletion_value.assign(n, 0.0f);
  out.msa_mask.assign(n, 0.0f);
  out.residue_index.resize(static_cast<size_t>(o.batch * o.n_res));
  out.row_index.resize(static_cast<size_t>(o.batch * o.n_seq));
  for (int64_t element = 0; element < o.batch; ++element) fill(out, static_cast<uint64_t>(element), step);
  return out;
}

}  // namespace reckon::data
