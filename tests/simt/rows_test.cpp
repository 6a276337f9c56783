// Gathers and sums of rows by index beyond the ops' own cases: several pieces, whole windows of one index, rows
// that warps share, large tables, column counts that take fours and that do not.
#include "ops/cast/cast.h"
#include "ops/embedding/embedding.h"
#include "ops/index_select/index_select.h"
#include "tests/gpu/smallest_shapes.h"
#include "tests/simt/both_devices.h"

namespace reckon::testing {
namespace {

const int64_t kTokens = smallest_shapes() ? 2100 : 6000;

struct Pattern {
  const char* name;
  int64_t extent;
  int64_t (*index)(int64_t i);
};

const Pattern kPatterns[] = {
    {"one index fills the batch", 9, [](int64_t) -> int64_t { return 4; }},
    {"a small table", 7, [](int64_t i) -> int64_t { return i * i % 7; }},
    {"half is padding, the rest is spread", 5000,
     [](int64_t i) -> int64_t { return i % 2 ? 0 : i * 2654435761 % 5000; }},
    {"runs", 300, [](int64_t i) -> int64_t { return i / 97 * 131 % 300; }},
    {"all differ", 8000, [](int64_t i) -> int64_t { return i * 7 % 8000; }},
};

TEST(ScatterAdd, AgreesForManyPiecesAndWindows) {
  for (const Pattern& p : kPatterns)
    for (int64_t columns : {1, 5, 8, 132})
      for (DType t : {DType::f32, DType::bf16}) {
        if (columns == 132 && p.extent > 5000) continue;
        SCOPED_TRACE(fmt::format("{}, {} columns of {}", p.name, columns, name_of(t)));
        // Sums of thousands of terms in another order than the CPU's.
        expect_agreement(
            [&](Device& d) -> TensorList {
              const Tensor ids = integers(d, {kTokens}, p.index);
              return {ops::scatter_add(normals(d, {p.extent, columns}, t), 0, ids,
                                       normals(d, {kTokens, columns}, t, 1))};
            },
            8);
      }
}

TEST(ScatterAdd, OuterAxesShareTheLists) {
  expect_agreement(
      [](Device& d) -> TensorList {
        const Tensor ids = integers(d, {300}, [](int64_t i) { return i * 13 % 11; });
        return {ops::scatter_add(normals(d, {3, 11, 12}), 1, ids, normals(d, {3, 300, 12}, DType::f32, 1)),
                ops::scatter_add(normals(d, {40, 11}), 1, ids, normals(d, {40, 300}, DType::f32, 1))};
      },
      4);
}

TEST(ScatterAdd, NothingToAdd) {
  expect_equal_bits([](Device& d) -> TensorList {
    const Tensor none = integers(d, {0}, [](int64_t) -> int64_t { return 0; });
    return {ops::scatter_add(normals(d, {5, 8}), 0, none, normals(d, {0, 8})),
            ops::index_select(normals(d, {5, 8}), 0, none)};
  });
}

TEST(Gather, WordsOfEverySize) {
  for (DType t : {DType::f32, DType::bf16, DType::u8, DType::i64})
    for (int64_t columns : {1, 3, 4, 16, 33})
      expect_equal_bits(
          [&](Device& d) -> TensorList {
            const Tensor ids = integers(d, {4, 70}, [](int64_t i) { return i * 5 % 9; }),
                         x = normals(d, {3, 9, columns}, t);
            return {ops::index_select(x, 1, ids),
                    ops::index_select(x, 0, integers(d, {5}, [](int64_t i) { return i % 3; }))};
          },
          name_of(t).data());
}

TEST(Gather, AnIndexOutsideReadsNothingAndShows) {
  const auto gpu = emulated_gpu();
  const Tensor ids = integers(*gpu, {3}, [](int64_t i) -> int64_t { return i == 0 ? -1 : i == 1 ? 2 : 5; });
  const auto y = to_doubles(ops::embedding(ids, normals(*gpu, {5, 6})));
  for (int k = 0; k < 6; ++k) {
    EXPECT_TRUE(std::isnan(y[static_cast<size_t>(k)]) && std::isnan(y[static_cast<size_t>(12 + k)]));
    EXPECT_FALSE(std::isnan(y[static_cast<size_t>(6 + k)]));
  }
  const Tensor sums = ops::scatter_add(normals(*gpu, {5, 6}), 0, ids, normals(*gpu, {3, 6}, DType::f32, 1));
  for (double v : to_doubles(sums)) EXPECT_TRUE(std::isfinite(v));
}

TEST(OneHot, EveryType) {
  for (DType t : {DType::f32, DType::bf16, DType::f16, DType::i64, DType::u8})
    expect_equal_bits([&](Device& d) -> TensorList {
      return {ops::one_hot(integers(d, {300}, [](int64_t i) { return i % 7; }), 7, t)};
    });
}

}  // namespace
}  // namespace reckon::testing
