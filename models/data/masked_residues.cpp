#include "models/data/masked_residues.h"

#include <algorithm>

#include "runtime/core/error.h"

namespace reckon::data {
namespace {

MsaBatchOptions options_of(const Alignment& alignment, int64_t batch, int64_t n_res) {
  RECKON_CHECK(
      alignment.n_seq >= 2,
      "the alignment has {} row: a residue is predicted from the profile of the other rows, so at least "
      "two are needed",
      alignment.n_seq);
  MsaBatchOptions o;
  o.batch = batch;
  o.n_seq = 2;
  o.n_res = n_res;
  return o;
}

}  // namespace

ResidueBatches::ResidueBatches(const Alignment& alignment, int64_t batch, int64_t n_res, uint64_t seed)
    : alignment_(&alignment),
      rows_(alignment, options_of(alignment, batch, n_res), seed),
      counts_(static_cast<size_t>(alignment.n_res * kProfileWidth), 0) {
  for (int64_t s = 0; s < alignment.n_seq; ++s)
    for (int64_t c = 0; c < alignment.n_res; ++c)
      ++counts_[static_cast<size_t>(c * kProfileWidth +
                                    alignment.residues[static_cast<size_t>(s * alignment.n_res + c)])];
}

ResidueBatch ResidueBatches::at(uint64_t step) const {
  const MsaBatch two = rows_.at(step);
  const Alignment& a = *alignment_;
  const int64_t B = two.batch, N = two.n_res;
  ResidueBatch out;
  out.batch = B;
  out.n_res = N;
  out.residue_index = two.residue_index;
  out.profile.resize(static_cast<size_t>(B * N * kProfileWidth));
  const auto others = static_cast<float>(a.n_seq - 1);
  for (int64_t b = 0; b < B; ++b) {
    const auto sequence = (2 * b + 1) * N;
    out.masked_ids.insert(out.masked_ids.end(), two.masked_ids.begin() + sequence,
                          two.masked_ids.begin() + sequence + N);
    out.targets.insert(out.targets.end(), two.targets.begin() + sequence, two.targets.begin() + sequence + N);
    const int64_t row = two.row_index[static_cast<size_t>(2 * b + 1)];
    out.row_index.push_back(row);
    const auto residue = [&](int64_t r) {
      const int64_t column = out.residue_index[static_cast<size_t>(b * N + r)];
      return static_cast<int64_t>(a.residues[static_cast<size_t>(row * a.n_res + column)]);
    };
    const auto hidden = [](int64_t target) { return target != kIgnoredTarget; };
    if (std::none_of(out.targets.end() - N, out.targets.end(), hidden)) {
      // Row and step walk the position, so that no column is preferred.
      const auto r = static_cast<int64_t>((static_cast<uint64_t>(row) + step) % static_cast<uint64_t>(N));
      out.targets[static_cast<size_t>(b * N + r)] = residue(r);
      out.masked_ids[static_cast<size_t>(b * N + r)] = kMaskToken;
    }
    for (int64_t r = 0; r < N; ++r) {
      const int64_t column = out.residue_index[static_cast<size_t>(b * N + r)];
      const int32_t* from = counts_.data() + column * kProfileWidth;
      float* to = out.profile.data() + (b * N + r) * kProfileWidth;
      for (int64_t v = 0; v < kProfileWidth; ++v)
        to[v] = static_cast<float>(from[v] - (v == residue(r))) / others;
    }
  }
  return out;
}

}  // namespace reckon::data
