#include "models/data/msa_batches.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "tests/data/support.h"

namespace reckon::data {
namespace {

using test::error_of;
using test::says;

// Residue of row s, column r is known, so that crops can be traced back.
Alignment numbered(int64_t n_seq, int64_t n_res) {
  Alignment a;
  a.n_seq = n_seq;
  a.n_res = n_res;
  for (int64_t s = 0; s < n_seq; ++s) {
    a.names.push_back("s" + std::to_string(s));
    for (int64_t r = 0; r < n_res; ++r) {
      a.residues.push_back(static_cast<uint8_t>((s * 7 + r * 3) % 22));
      a.deletions.push_back(static_cast<uint16_t>((s + r) % 5));
    }
  }
  return a;
}

MsaBatchOptions crop(int64_t batch, int64_t n_seq, int64_t n_res) {
  MsaBatchOptions o;
  o.batch = batch;
  o.n_seq = n_seq;
  o.n_res = n_res;
  return o;
}

TEST(MsaBatches, CropsTraceBackToTheAlignmentAndTargetsToTheOriginal) {
  const Alignment a = numbered(40, 30);
  const MsaBatches batches(a, crop(3, 8, 12), 1);
  for (uint64_t step = 0; step < 30; ++step) {
    const MsaBatch b = batches.at(step);
    for (int64_t e = 0; e < 3; ++e) {
      for (int64_t s = 0; s < 8; ++s) {
        for (int64_t r = 0; r < 12; ++r) {
          const auto at = static_cast<size_t>((e * 8 + s) * 12 + r);
          const int64_t row = b.row_index[static_cast<size_t>(e * 8 + s)];
          const int64_t column = b.residue_index[static_cast<size_t>(e * 12 + r)];
          ASSERT_EQ(column, b.residue_index[static_cast<size_t>(e * 12)] + r);
          const auto from = static_cast<size_t>(row * 30 + column);
          if (b.targets[at] == kIgnoredTarget) {
            ASSERT_EQ(b.masked_ids[at], a.residues[from]);
          } else {
            ASSERT_EQ(b.targets[at], a.residues[from]);
          }
          const float deletions = a.deletions[from];
          ASSERT_EQ(b.has_deletion[at], deletions > 0 ? 1.0f : 0.0f);
          ASSERT_NEAR(b.deletion_value[at], 2 / M_PI * std::atan(deletions / 3.0), 1e-6);
          ASSERT_EQ(b.msa_mask[at], 1.0f);
        }
      }
    }
  }
}

TEST(MsaBatches, QueryComesFirstAndOtherRowsAreDistinct) {
  const Alignment a = numbered(40, 10);
  const MsaBatches batches(a, crop(2, 16, 5), 9);
  std::set<int64_t> seen;
  for (uint64_t step = 0; step < 60; ++step) {
    const auto rows = batches.at(step).row_index;
    for (size_t e = 0; e < 2; ++e) {
      ASSERT_EQ(rows[16 * e], 0);
      const std::set<int64_t> distinct(rows.begin() + static_cast<long>(16 * e),
                                       rows.begin() + static_cast<long>(16 * e + 16));
      ASSERT_EQ(distinct.size(), 16u);
      ASSERT_LT(*distinct.rbegin(), 40);
      seen.insert(distinct.begin(), distinct.end());
    }
  }
  EXPECT_EQ(seen.size(), 40u) << "some rows are never drawn";
  const auto all = MsaBatches(a, crop(1, 40, 10), 9).at(0).row_index;
  EXPECT_EQ(std::set<int64_t>(all.begin(), all.end()).size(), 40u);
}

TEST(MsaBatches, RowsAndWindowsAreDrawnEvenly) {
  const Alignment a = numbered(11, 14);
  const MsaBatches batches(a, crop(1, 4, 5), 3);  // rows 1..10 three at a time, starts 0..9
  std::array<int, 11> rows{};
  std::array<int, 10> starts{};
  constexpr int kSteps = 10000;
  for (uint64_t step = 0; step < kSteps; ++step) {
    const auto b = batches.at(step);
    for (size_t s = 1; s < 4; ++s) ++rows[static_cast<size_t>(b.row_index[s])];
    ++starts[static_cast<size_t>(b.residue_index[0])];
  }
  for (size_t i = 1; i < 11; ++i) EXPECT_NEAR(rows[i], 3000, 5 * std::sqrt(3000 * 0.7)) << i;
  for (int n : starts) EXPECT_NEAR(n, 1000, 5 * std::sqrt(900.0));
}

TEST(MsaBatches, CorruptionHasTheSharesOfAlphaFold2) {
  // All rows A except for a quarter of W, so that every kind of change can be told apart by its result.
  Alignment a = numbered(400, 50);
  const uint8_t alanine = 0, tryptophan = 17;
  for (size_t i = 0; i < a.residues.size(); ++i) a.residues[i] = i / 50 % 4 == 3 ? tryptophan : alanine;
  const MsaBatches batches(a, crop(1, 400, 50), 77);
  double n = 0, chosen = 0, mask = 0, other = 0, to_w = 0, from_a = 0;
  for (uint64_t step = 0; step < 20; ++step) {
    const auto b = batches.at(step);
    for (size_t i = 0; i < b.targets.size(); ++i) {
      ++n;
      if (b.targets[i] == kIgnoredTarget) continue;
      ++chosen;
      mask += b.masked_ids[i] == kMaskToken;
      other += b.masked_ids[i] != kMaskToken && b.masked_ids[i] != alanine && b.masked_ids[i] != tryptophan;
      from_a += b.targets[i] == alanine;
      to_w += b.targets[i] == alanine && b.masked_ids[i] == tryptophan;
    }
  }
  const auto near = [](double count, double total, double share) {
    EXPECT_NEAR(count / total, share, 5 * std::sqrt(share * (1 - share) / total));
  };
  near(chosen, n, 0.15);
  near(mask, chosen, 0.70);
  near(other, chosen, 0.10 * 18 / 20);          // uniform draws that are neither A nor W
  near(to_w, from_a, 0.10 * 0.25 + 0.10 / 20);  // profile draws and uniform draws of W
}

TEST(MsaBatches, ChoicesOfDifferentPositionsStepsAndElementsAreIndependent) {
  const Alignment a = numbered(20, 100);
  const MsaBatches batches(a, crop(2, 20, 100), 5);
  const auto first = batches.at(0).targets, second = batches.at(1).targets;
  const auto both = [](auto x, auto y, size_t n) {
    double hits = 0;
    for (size_t i = 0; i < n; ++i) hits += x[i] != kIgnoredTarget && y[i] != kIgnoredTarget;
    return hits / static_cast<double>(n);
  };
  EXPECT_NEAR(both(first.begin(), second.begin(), 4000), 0.0225, 0.012);
  EXPECT_NEAR(both(first.begin(), first.begin() + 2000, 2000), 0.0225, 0.016);
  EXPECT_NEAR(both(first.begin(), first.begin() + 1, 3999), 0.0225, 0.012);
}

TEST(MsaBatches, AreAPureFunctionOfSeedAndStepWhateverTheOrder) {
  const Alignment a = numbered(30, 30);
  const MsaBatches x(a, crop(2, 8, 8), 4), y(a, crop(2, 8, 8), 4), other(a, crop(2, 8, 8), 5),
      one(a, crop(1, 8, 8), 4);
  const auto wanted = x.at(6);
  for (uint64_t step = 9; step > 6; --step) y.at(step);
  const auto again = y.at(6);
  EXPECT_EQ(again.masked_ids, wanted.masked_ids);
  EXPECT_EQ(again.targets, wanted.targets);
  EXPECT_EQ(again.row_index, wanted.row_index);
  EXPECT_EQ(again.residue_index, wanted.residue_index);
  EXPECT_NE(x.at(7).targets, wanted.targets);
  EXPECT_NE(other.at(6).targets, wanted.targets);
  auto first = wanted.targets;
  first.resize(64);
  EXPECT_EQ(one.at(6).targets, first) << "an element must not depend on the batch size";
}

TEST(MsaBatches, PaddingIsMaskedOutAndOnlyOnRequest) {
  const Alignment a = numbered(3, 4);
  EXPECT_TRUE(says(error_of([&] { MsaBatches(a, crop(1, 5, 4), 0); }),
                   {"5 rows x 4 columns", "3 rows x 4 columns", "allow padding"}));
  EXPECT_TRUE(says(error_of([&] { MsaBatches(a, crop(1, 3, 6), 0); }), {"3 rows x 6 columns"}));
  auto o = crop(1, 5, 6);
  o.allow_padding = true;
  o.masked = 1.0;
  const auto b = MsaBatches(a, o, 0).at(3);
  for (int64_t s = 0; s < 5; ++s) {
    for (int64_t r = 0; r < 6; ++r) {
      const auto at = static_cast<size_t>(s * 6 + r);
      const bool real = s < 3 && r < 4;
      EXPECT_EQ(b.msa_mask[at], real ? 1.0f : 0.0f);
      EXPECT_EQ(b.targets[at] != kIgnoredTarget, real);
      if (!real) {
        EXPECT_EQ(b.masked_ids[at], kGapResidue);
        EXPECT_EQ(b.has_deletion[at], 0.0f);
      }
    }
  }
  EXPECT_EQ(b.residue_index, (std::vector<int64_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(b.row_index[3], -1);
}

TEST(MsaBatches, SharesZeroAndOneAreExact) {
  const Alignment a = numbered(10, 10);
  auto o = crop(1, 10, 10);
  o.masked = 0;
  for (int64_t t : MsaBatches(a, o, 1).at(0).targets) EXPECT_EQ(t, kIgnoredTarget);
  o.masked = 1;
  o.uniform = o.profile = o.unchanged = 0;
  for (int64_t id : MsaBatches(a, o, 1).at(0).masked_ids) EXPECT_EQ(id, kMaskToken);
  o.unchanged = 1;
  const auto b = MsaBatches(a, o, 1).at(0);
  EXPECT_EQ(b.masked_ids, b.targets);
}

TEST(MsaBatches, RefusesImpossibleOptions) {
  const Alignment a = numbered(3, 4);
  auto o = crop(1, 2, 2);
  o.uniform = 0.9;
  o.profile = 0.2;
  EXPECT_TRUE(says(error_of([&] { MsaBatches(a, o, 0); }), {"uniform 0.9", "profile 0.2"}));
  o = crop(1, 2, 2);
  o.masked = 1.5;
  EXPECT_TRUE(says(error_of([&] { MsaBatches(a, o, 0); }), {"masked share 1.5"}));
  EXPECT_TRUE(says(error_of([&] { MsaBatches(a, crop(0, 2, 2), 0); }), {"batch of 0"}));
  auto huge = crop(1 << 19, 1 << 23, 1 << 23);
  huge.allow_padding = true;
  EXPECT_TRUE(says(error_of([&] { MsaBatches(a, huge, 0); }), {"above 2^40 positions"}));
  EXPECT_TRUE(says(error_of([&] { MsaBatches(Alignment{}, crop(1, 1, 1), 0); }), {"empty alignment"}));
}

}  // namespace
}  // namespace reckon::data
