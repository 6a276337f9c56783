// Bytes of a tensor: exact, equal to what an allocation takes, and never a wrong number.
#include "calculators/tensor_size.h"

#include <gtest/gtest.h>

#include "runtime/core/error.h"

namespace reckon::calculators {
namespace {

TensorSize explain(const char* text, DType fallback = DType::f32) {
  return explain_tensor(parse_tensor(text, fallback));
}

TEST(TensorSize, TheJournalsTensorAndTextbookOnesAreExact) {
  EXPECT_EQ(explain("32x501x501x128x128 f32").bytes, Exact(526387249152));
  EXPECT_EQ(explain("[4, 8]").bytes, Exact(128));
  EXPECT_EQ(explain("12288x49152 f32").bytes, Exact(int64_t{12288} * 49152 * 4))
      << "2.25 GiB: one feed-forward matrix of a GPT-3";
  EXPECT_EQ(explain("1024 x 8 x 384 x 384 f32").bytes, Exact(4831838208));
  EXPECT_EQ(explain("5120\xC3\x97"
                    "8\xC3\x97"
                    "384\xC3\x97"
                    "384 bf16")
                .bytes,
            Exact(12079595520));
}

TEST(TensorSize, EveryTypesBytesAreThoseOfAnAllocation) {
  for (const char* type : {"f32", "bf16", "f16", "f64", "i64", "u8", "f8e4m3", "f8e5m2"}) {
    const TensorSize t = explain(fmt::format("3x5x7 {}", type).c_str());
    ASSERT_TRUE(t.dry_run_bytes.has_value());
    EXPECT_EQ(Exact(*t.dry_run_bytes), t.bytes) << type;
    EXPECT_EQ(t.bytes, Exact(105 * static_cast<int64_t>(size_of(dtype_from_name(type)))));
  }
  EXPECT_EQ(explain("3x5x7", DType::bf16).bytes, Exact(210))
      << "the fallback is used when the text names no type";
}

TEST(TensorSize, BeyondTheAddressSpaceTheFormulaStandsAloneAndBeyond127BitsItIsAnError) {
  const TensorSize t = explain("4294967296x4294967296x4 f32");
  EXPECT_FALSE(t.dry_run_bytes.has_value());
  EXPECT_EQ(t.bytes.digits(), "295147905179352825856");
  EXPECT_THROW(explain("9223372036854775807x9223372036854775807x9223372036854775807"), Error);
}

TEST(TensorSize, EqualAxesGrowTogether) {
  const TensorSize t = explain("32x501x501x128x128");
  ASSERT_EQ(t.growth.size(), 3u);
  EXPECT_EQ(t.growth[0].axes, std::vector<size_t>{0});
  EXPECT_EQ(t.growth[1].axes, (std::vector<size_t>{1, 2}));
  EXPECT_EQ(t.growth[1].bytes_if_doubled, t.bytes * 4);
  EXPECT_EQ(explain("8x8x8").growth[0].bytes_if_doubled, Exact(2048 * 8));
  EXPECT_TRUE(explain("1x1").growth.empty());
}

TEST(TensorSize, SmallerFormsAreSmaller) {
  for (const char* text :
       {"32x501x501x128x128", "16x4x400x400", "1x256x4x256x256", "4x512x151936", "7", "2x3 u8"}) {
    const TensorSize t = explain(text);
    EXPECT_FALSE(t.origins.empty()) << text;
    for (const SmallerForm& s : t.smaller) {
      EXPECT_LT(s.bytes, t.bytes) << text << ": " << s.how;
      EXPECT_GT(s.bytes, Exact(0)) << text << ": " << s.how;
    }
  }
}

TEST(TensorSize, NonsenseIsRefused) {
  for (const char* text : {"", "f32", "0x4", "-3x4", "3x-4", "3.5x4", "NaN", "3x4 f99", "3x4 f32 bf16",
                           "3x4 8 parsecs", "99999999999999999999x2", "x", "3x4,five"})
    EXPECT_THROW(explain(text), Error) << "'" << text << "'";
}

}  // namespace
}  // namespace reckon::calculators
