// The memory journal: its figures, and the remedy run for real.
#include "studies/journal.h"

#include <gtest/gtest.h>

#include "calculators/tensor_size.h"
#include "runtime/core/error.h"

namespace reckon::calculators {
namespace {

TEST(Journal, TheTableIsRecomputedFromShapes) {
  const auto rows = journal_rows();
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0].outer_product, explain_tensor(parse_tensor("32x501x501x128x128 f32", DType::f32)).bytes);
  EXPECT_EQ(rows[0].outer_product, Exact(526387249152));
  EXPECT_EQ(rows[1].outer_product, Exact(167772160000));
  EXPECT_EQ(rows[1].scores, Exact(40960000));
  EXPECT_EQ(rows[2].outer_product, Exact(65536000000));
  EXPECT_EQ(rows[3].outer_product, Exact(524288000000));
  EXPECT_EQ(rows[3].qkv, Exact(24576000)) << "all three, where the journal holds one";
  EXPECT_EQ(rows[0].projected, Exact(1050673152)) << "1.05 GB instead of 526";
}

TEST(Journal, TheRemedyRunsWithPredictedEqualToMeasuredBytes) {
  const JournalExperiment e = run_outer_product(2, 24, 16, true, DeviceSpec::this_machine());
  for (const OuterProductRun* r : {&e.stored, &e.projected}) {
    EXPECT_TRUE(r->events_equal);
    EXPECT_EQ(r->predicted_peak, r->measured_peak);
    EXPECT_GT(r->n_events, 50);
  }
  EXPECT_EQ(e.stored.stored_outer_bytes, int64_t{2} * 24 * 24 * 16 * 16 * 4)
      << "the stored form makes the tensor";
  EXPECT_LT(e.projected.stored_outer_bytes, e.stored.stored_outer_bytes) << "the other never does";
  EXPECT_LT(e.projected.predicted_peak, e.stored.predicted_peak);
  EXPECT_LT(e.projected.matmul_flops, e.stored.matmul_flops);
  EXPECT_LT(e.largest_difference, 1e-5) << "the same result";
  EXPECT_GT(e.largest_difference, 0) << "by another order of sums";
}

TEST(Journal, OneA100DoesNotHoldTheRowThatShouldFit) {
  const Journal j = explain_journal(16, 8, DeviceSpec::this_machine());
  ASSERT_EQ(j.full_size.size(), 2u);
  const JournalExperiment& single = j.full_size[1];
  EXPECT_EQ(single.tokens, 500);
  EXPECT_GT(single.stored.predicted_peak, 80'000'000'000) << "65 GB once, and its gradient beside it";
  EXPECT_LT(single.projected.predicted_peak, 80'000'000'000);
  EXPECT_NE(j.rows[2].verdict.find("more than the 80.00 GB"), std::string::npos) << j.rows[2].verdict;
  // At the first row's size one [c_z, c] matrix per token replaces 2 r c of work.
  EXPECT_NEAR(static_cast<double>(j.full_size[0].stored.matmul_flops) /
                  static_cast<double>(j.full_size[0].projected.matmul_flops),
              102, 1);
  EXPECT_EQ(j.full_size[0].stored.measured_peak, -1) << "not run, and not said to be";
}

TEST(Journal, SizesThatAreNoDemonstrationAreRefused) {
  const DeviceSpec spec = DeviceSpec::this_machine();
  EXPECT_THROW(run_outer_product(1, 0, 8, false, spec), Error);
  EXPECT_THROW(run_outer_product(1, 8, -8, false, spec), Error);
  EXPECT_THROW(run_outer_product(32, 501, 128, true, spec), Error) << "would store 526 GB";
}

}  // namespace
}  // namespace reckon::calculators
