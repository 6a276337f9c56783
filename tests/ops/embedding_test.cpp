// Embedding beyond the suites over every op: known rows, repeated ids, wrong ids, 16-bit gradients.
#include "ops/embedding/embedding.h"

#include <gtest/gtest.h>

#include "tests/support/op_values.h"

namespace reckon::testing {
namespace {

TEST(Embedding, PicksRowsAndAddsUpTheGradientsOfRepeatedIds) {
  const Values v;
  const Tensor table = v.leaf(v.f64({4, 2}, {0, 1, 10, 11, 20, 21, 30, 31}));
  const Tensor y = ops::embedding(v.i64({2, 2}, {3, 1, 1, 0}), table);
  EXPECT_EQ(y.shape(), (Shape{2, 2, 2}));
  expect_near(y, {30, 31, 10, 11, 10, 11, 0, 1}, 0);
  autograd::backward(y, v.f64({2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8}));
  expect_near(autograd::grad_of(table), {7, 8, 8, 10, 0, 0, 1, 2}, 0);
}

TEST(Embedding, NamesAnIdOutsideTheTable) {
  const Values v;
  const Tensor table = v.random({5, 3}, DType::f32, 1);
  for (int64_t wrong : {int64_t{5}, int64_t{-1}}) {
    try {
      ops::embedding(v.i64({2, 3}, {0, 1, 2, 3, wrong, 4}), table);
      FAIL() << wrong;
    } catch (const Error& e) {
      const std::string expected =
          "id " + std::to_string(wrong) + " at position 4 is outside a table of V = 5 rows";
      EXPECT_NE(std::string(e.what()).find(expected), std::string::npos) << e.what();
    }
  }
  EXPECT_EQ(v.device->arena().live_bytes(Category::transient), 0u) << "the failed calls left memory behind";
}

TEST(Embedding, SaysWhenIdsAndTableAreSwapped) {
  const Values v;
  EXPECT_THROW(ops::embedding(v.random({5, 3}, DType::f32, 1), v.i64({2}, {0, 1})), Error);
}

TEST(Embedding, SixteenBitGradientsAreSummedInFloatAndRoundedOnce) {
  const Values v;
  // 384 ones: in bf16 arithmetic the sum would stop at 256.
  const Tensor table = v.leaf(ops::cast(v.f32({2, 1}, {0, 0}), DType::bf16));
  const Tensor ids = v.i64({384}, std::vector<int64_t>(384, 1));
  autograd::backward(ops::embedding(ids, table),
                     ops::cast(v.f32({384, 1}, std::vector<float>(384, 1.0f)), DType::bf16));
  EXPECT_EQ(autograd::grad_of(table).dtype(), DType::bf16);
  expect_near(autograd::grad_of(table), {0, 384}, 0);
}

TEST(Embedding, KeepsTheIdsAlone) {
  const Values v;
  const Tensor ids = v.i64({3}, {0, 1, 0});
  const Tensor y = ops::embedding(ids, v.leaf(v.random({5, 64}, DType::f32, 1)));
  EXPECT_EQ(saved_bytes(v), 0);
  EXPECT_EQ(ids.storage()->savers(), 1);
}

}  // namespace
}  // namespace reckon::testing
