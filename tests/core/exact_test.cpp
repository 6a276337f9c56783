// 127-bit whole numbers: never a wrong result.
#include "runtime/core/exact.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "runtime/core/error.h"
#include "runtime/core/format.h"

namespace reckon {
namespace {

TEST(Exact, DigitsSurviveBeyond64Bits) {
  const Exact big = Exact(INT64_MAX) * INT64_MAX;
  EXPECT_EQ(big.digits(), "85070591730234615847396907784232501249");
  EXPECT_EQ(Exact::parse("85070591730234615847396907784232501249"), big);
  EXPECT_EQ(big / INT64_MAX, Exact(INT64_MAX));
  EXPECT_EQ(big % INT64_MAX, Exact(0));
  EXPECT_EQ(format_count(Exact(0) - 1234567), "-1,234,567");
  EXPECT_EQ(format_count(big), "85,070,591,730,234,615,847,396,907,784,232,501,249");
  EXPECT_EQ(Exact(uint64_t{18446744073709551615u}).digits(), "18446744073709551615");
}

TEST(Exact, OverflowIsAnErrorInEveryOperation) {
  const Exact big = Exact(INT64_MAX) * INT64_MAX;
  EXPECT_THROW(big * 3, Error);
  EXPECT_THROW(big + big + big, Error);
  EXPECT_THROW(Exact(0) - big - big - big, Error);
  EXPECT_THROW(Exact(1) / 0, Error);
  EXPECT_THROW(big.to_int64("bytes"), Error);
  EXPECT_THROW(Exact::parse("999999999999999999999999999999999999999999"), Error);
  EXPECT_THROW(Exact::truncated(1e40), Error);
  EXPECT_THROW(Exact::truncated(std::nan("")), Error);
  EXPECT_THROW(Exact::truncated(std::numeric_limits<double>::infinity()), Error);
}

TEST(Exact, TextThatIsNoWholeNumberIsRefused) {
  for (const char* text : {"", "-3", "1.5", "1e3", "12 ", ",1", "0x10"})
    EXPECT_THROW(Exact::parse(text), Error) << text;
  EXPECT_EQ(Exact::parse("1,829,952"), Exact(1829952));
}

TEST(Exact, CutsTowardsZeroAndRoundsUpWhenDividing) {
  EXPECT_EQ(Exact::truncated(2.999), Exact(2));
  EXPECT_EQ(Exact::truncated(-2.999), Exact(-2));
  EXPECT_EQ(ceil_div(10, 4), Exact(3));
  EXPECT_EQ(ceil_div(8, 4), Exact(2));
  EXPECT_EQ((Exact(1) * (int64_t{1} << 62) * 4 + 1).to_double(), 0x1p64) << "to the nearest double";
}

}  // namespace
}  // namespace reckon
