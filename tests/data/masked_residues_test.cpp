#include "models/data/masked_residues.h"

#include <algorithm>
#include <set>

#include "tests/data/support.h"

namespace reckon::data {
namespace {

using test::error_of;
using test::says;

Alignment patterned(int64_t n_seq, int64_t n_res) {
  Alignment a;
  a.n_seq = n_seq;
  a.n_res = n_res;
  for (int64_t s = 0; s < n_seq; ++s)
    for (int64_t r = 0; r < n_res; ++r) a.residues.push_back(static_cast<uint8_t>((s * s * 7 + r * 3) % 22));
  a.deletions.assign(a.residues.size(), 0);
  a.names.assign(static_cast<size_t>(n_seq), "s");
  return a;
}

TEST(ResidueBatches, TheProfileIsCountedFromEveryRowButTheSequenceItself) {
  const Alignment a = patterned(9, 20);
  const ResidueBatches batches(a, 3, 12, 1);
  for (uint64_t step = 0; step < 10; ++step) {
    const ResidueBatch b = batches.at(step);
    for (int64_t e = 0; e < 3; ++e)
      for (int64_t r = 0; r < 12; ++r) {
        const int64_t row = b.row_index[static_cast<size_t>(e)];
        const int64_t column = b.residue_index[static_cast<size_t>(e * 12 + r)];
        std::vector<int> counts(kProfileWidth, 0);
        for (int64_t s = 0; s < a.n_seq; ++s)
          if (s != row) ++counts[a.residues[static_cast<size_t>(s * a.n_res + column)]];
        for (int64_t v = 0; v < kProfileWidth; ++v)
          ASSERT_EQ(b.profile[static_cast<size_t>((e * 12 + r) * kProfileWidth + v)],
                    static_cast<float>(counts[static_cast<size_t>(v)]) / 8.0f);
      }
  }
}

TEST(ResidueBatches, TargetsAreTheResiduesOfTheRowAndOtherPositionsAreUntouched) {
  const Alignment a = patterned(9, 20);
  const ResidueBatches batches(a, 3, 12, 1);
  int64_t n_hidden = 0, n = 0;
  std::set<int64_t> rows;
  for (uint64_t step = 0; step < 200; ++step) {
    const ResidueBatch b = batches.at(step);
    for (int64_t e = 0; e < 3; ++e) {
      const int64_t row = b.row_index[static_cast<size_t>(e)];
      rows.insert(row);
      for (int64_t r = 0; r < 12; ++r, ++n) {
        const auto at = static_cast<size_t>(e * 12 + r);
        const auto residue = a.residues[static_cast<size_t>(row * 20 + b.residue_index[at])];
        if (b.targets[at] == kIgnoredTarget) {
          ASSERT_EQ(b.masked_ids[at], residue);
        } else {
          ASSERT_EQ(b.targets[at], residue);
          ++n_hidden;
        }
      }
    }
  }
  // 15 %, and one position in the 0.85^12 = 14 % of the rows where chance hid none: 1.2 of 100 more.
  EXPECT_NEAR(static_cast<double>(n_hidden) / static_cast<double>(n), 0.162, 0.02);
  EXPECT_EQ(rows, (std::set<int64_t>{1, 2, 3, 4, 5, 6, 7, 8})) << "every row but the query is a sequence";
}

TEST(ResidueBatches, EveryCropHidesAtLeastOneResidue) {
  const Alignment a = patterned(5, 6);
  const ResidueBatches batches(a, 4, 2, 3);  // chance alone hides none in 72 % of the crops
  std::set<size_t> positions;
  for (uint64_t step = 0; step < 50; ++step) {
    const ResidueBatch b = batches.at(step);
    for (size_t e = 0; e < 4; ++e) {
      const bool first = b.targets[2 * e] != kIgnoredTarget, second = b.targets[2 * e + 1] != kIgnoredTarget;
      ASSERT_TRUE(first || second) << "step " << step << " element " << e;
      positions.insert(first ? 0 : 1);
    }
  }
  EXPECT_EQ(positions.size(), 2u);
}

TEST(ResidueBatches, AnElementDependsOnSeedStepAndItsNumberOnly) {
  const Alignment a = patterned(9, 20);
  const ResidueBatch small = ResidueBatches(a, 2, 8, 4).at(7), large = ResidueBatches(a, 5, 8, 4).at(7);
  EXPECT_TRUE(std::equal(small.masked_ids.begin(), small.masked_ids.end(), large.masked_ids.begin()));
  EXPECT_TRUE(std::equal(small.profile.begin(), small.profile.end(), large.profile.begin()));
  EXPECT_EQ(ResidueBatches(a, 2, 8, 4).at(7).masked_ids, small.masked_ids);
  EXPECT_NE(ResidueBatches(a, 2, 8, 4).at(8).masked_ids, small.masked_ids);
  EXPECT_NE(ResidueBatches(a, 2, 8, 5).at(7).masked_ids, small.masked_ids);
}

TEST(ResidueBatches, AnAlignmentOfOneRowIsRefused) {
  const Alignment a = patterned(1, 20);
  EXPECT_TRUE(says(error_of([&] { ResidueBatches(a, 1, 8, 1); }), {"1 row", "at least two"}));
}

}  // namespace
}  // namespace reckon::data
