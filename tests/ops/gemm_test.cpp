// Matrix products against a double loop: sizes, layouts, dtypes, batches, workspaces, refused calls.
#include "ops/kernel/cpu/gemm.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "runtime/core/error.h"
#include "tests/ops/gemm_fixture.h"

namespace reckon::ops {
namespace {

struct Product {
  int64_t m = 1, n = 1, k = 1;
  DType a = DType::f32, b = DType::f32, c = DType::f32, bias = DType::f32;
  Layout a_layout = Layout::rows, b_layout = Layout::rows, c_layout = Layout::rows;
  double alpha = 1.0;
  bool accumulate = false, with_bias = false;
  int threads = 1;
};

std::string describe(const Product& s, IsaLevel level) {
  return fmt::format("{}x{}x{} {} {} {} layouts {} {} {} alpha {} accumulate {} bias {} threads {} level {}",
                     s.m, s.n, s.k, name_of(s.a), name_of(s.b), name_of(s.c), static_cast<int>(s.a_layout),
                     static_cast<int>(s.b_layout), static_cast<int>(s.c_layout), s.alpha, s.accumulate,
                     s.with_bias, s.threads, name_of(level));
}

double unit_roundoff(DType t) {
  return t == DType::f64 ? 0x1p-53 : (t == DType::f32 ? 0x1p-24 : (t == DType::bf16 ? 0x1p-8 : 0x1p-11));
}

// Runs one product and compares it with a double loop. The bound: each of the k + 3 roundings of the
// sums loses at most one unit of the sum of magnitudes, storing loses one unit of the result;
// untouched gaps of c stay as they were.
void expect_product(const Product& s, IsaLevel level) {
  SCOPED_TRACE(describe(s, level));
  std::mt19937 random(static_cast<unsigned>(s.m * 131 + s.n * 17 + s.k));
  const Strides as = strides_of(s.a_layout, s.m, std::max<int64_t>(s.k, 1));
  const Strides bs = strides_of(s.b_layout, std::max<int64_t>(s.k, 1), s.n);
  const Strides cs = strides_of(s.c_layout, s.m, s.n);
  Array a(as.extent, s.a), b(bs.extent, s.b), c(cs.extent, s.c), bias(s.n, s.bias);
  a.fill(random), b.fill(random), c.fill(random), bias.fill(random);
  const Array before = c;

  GemmProblem p;
  p.m = s.m, p.n = s.n, p.k = s.k;
  p.a = {a.data(), s.a, as.row, as.col};
  p.b = {b.data(), s.b, bs.row, bs.col};
  p.c = c.data(), p.c_dtype = s.c, p.c_row_stride = cs.row, p.c_col_stride = cs.col;
  p.alpha = s.alpha, p.accumulate = s.accumulate;
  if (s.with_bias) p.bias = bias.data(), p.bias_dtype = s.bias;
  Workspace workspace(gemm_workspace_bytes(s.m, s.n, s.k, s.a, s.b, s.c, s.threads, level));
  gemm(p, workspace.data.get(), s.threads, level);
  ASSERT_TRUE(workspace.guard_intact());

  const double sum_unit = s.c == DType::f64 ? 0x1p-53 : 0x1p-24;
  std::vector<bool> written(static_cast<size_t>(c.n), false);
  for (int64_t i = 0; i < s.m; ++i) {
    for (int64_t j = 0; j < s.n; ++j) {
      const int64_t at = i * cs.row + j * cs.col;
      written[static_cast<size_t>(at)] = true;
      double sum = 0, magnitude = 0;
      for (int64_t l = 0; l < s.k; ++l) {
        const double term = a.get(i * as.row + l * as.col) * b.get(l * bs.row + j * bs.col);
        sum += term, magnitude += std::fabs(term);
      }
      sum *= s.alpha, magnitude *= std::fabs(s.alpha);
      if (s.with_bias) sum += bias.get(j), magnitude += std::fabs(bias.get(j));
      if (s.accumulate) sum += before.get(at), magnitude += std::fabs(before.get(at));
      const double bound = static_cast<double>(s.k + 3) * sum_unit * magnitude +
                           unit_roundoff(s.c) * std::fabs(sum) * 1.01 + (s.c == DType::f16 ? 0x1p-25 : 0);
      ASSERT_NEAR(c.get(at), sum, bound) << "at " << i << ", " << j;
    }
  }
  for (int64_t i = 0; i < c.n; ++i)
    if (!written[static_cast<size_t>(i)]) {
      ASSERT_EQ(c.get(i), before.get(i)) << "gap of c at " << i;
    }
}

TEST(Gemm, MatchesADoubleLoopAtEveryEdgeSize) {
  for (const IsaLevel level : levels())
    for (const int64_t m : {1, 2, 5, 6, 7, 13, 14, 15, 29, 33})
      for (const int64_t n : {1, 3, 8, 9, 15, 16, 17, 31, 32, 33, 65})
        for (const int64_t k : {1, 2, 3, 16, 31, 33, 67})
          for (const DType t : {DType::f32, DType::bf16, DType::f64}) {
            Product s{.m = m, .n = n, .k = k, .a = t, .b = t, .c = t, .bias = t};
            s.with_bias = n % 2 == 1;
            expect_product(s, level);
            if (HasFatalFailure()) return;
          }
}

TEST(Gemm, AcceptsEveryLayoutOfEveryOperand) {
  constexpr int64_t sizes[][3] = {{37, 41, 19}, {70, 35, 460}, {3, 100, 33}, {100, 2, 40}};
  for (const IsaLevel level : levels())
    for (const auto& [m, n, k] : sizes)
      for (const Layout a : kLayouts)
        for (const Layout b : kLayouts)
          for (const Layout c : kLayouts)
            for (const DType t : {DType::f32, DType::bf16, DType::f64}) {
              Product s{.m = m, .n = n, .k = k, .a = t, .b = t, .c = t, .bias = t};
              s.a_layout = a, s.b_layout = b, s.c_layout = c;
              s.alpha = -0.75, s.accumulate = a == b, s.with_bias = b == c;
              expect_product(s, level);
              if (HasFatalFailure()) return;
            }
}

TEST(Gemm, MixesF32Bf16AndF16Freely) {
  constexpr DType types[] = {DType::f32, DType::bf16, DType::f16};
  for (const IsaLevel level : levels())
    for (const DType a : types)
      for (const DType b : types)
        for (const DType c : types)
          for (const DType bias : types)
            for (const int64_t k : {45, 530}) {
              Product s{.m = 31, .n = 50, .k = k, .a = a, .b = b, .c = c, .bias = bias};
              s.with_bias = true, s.accumulate = true, s.alpha = 0.5;
              s.a_layout = k == 45 ? Layout::rows : Layout::columns;
              s.b_layout = k == 45 ? Layout::columns : Layout::both_strided;
              expect_product(s, level);
              if (HasFatalFailure()) return;
            }
}

TEST(Gemm, SplitsLongSumsAndLargeOutputsIntoBlocks) {
  constexpr int64_t sizes[][3] = {
      {40, 50, 1000}, {33, 37, 4500}, {1030, 40, 270}, {20, 1100, 260}, {600, 530, 513}};
  for (const IsaLevel level : levels())
    for (const auto& [m, n, k] : sizes)
      for (const DType t : {DType::f32, DType::bf16}) {
        Product s{.m = m, .n = n, .k = k, .a = t, .b = t, .c = t};
        s.with_bias = s.accumulate = true, s.alpha = 1.25, s.threads = 2;
        s.c_layout = m > n ? Layout::columns : Layout::padded_rows;
        expect_product(s, level);
        if (HasFatalFailure()) return;
      }
}

// As in a weight's gradient: a and b with dense columns, more sums than one block of k, tasks of one row panel.
TEST(Gemm, SumsOverManyRowsOfBothOperands) {
  for (const IsaLevel level : levels())
    for (const auto& [m, n, k] : {std::array<int64_t, 3>{200, 40, 300}, {333, 37, 2100}, {150, 33, 450}})
      for (const DType c : {DType::f32, DType::bf16, DType::f16})
        for (const bool more : {false, true}) {
          Product s{.m = m, .n = n, .k = k, .a = DType::bf16, .b = DType::bf16, .c = c};
          s.a_layout = Layout::columns, s.threads = 2;
          s.with_bias = s.accumulate = more, s.alpha = more ? -0.5 : 1.0;
          s.c_layout = m == 200 ? Layout::padded_rows : Layout::rows;
          expect_product(s, level);
          if (HasFatalFailure()) return;
        }
}

// The tile units store outputs larger than the caches around them: whole panels, a last one
// that is not whole, added sums.
TEST(Gemm, StoresLargeOutputs) {
  for (const IsaLevel level : {levels().back()})
    for (const auto& [m, n] : {std::pair<int64_t, int64_t>{1400, 1504}, {1341, 1584}})
      for (const bool accumulate : {false, true}) {
        Product s{.m = m, .n = n, .k = 3, .a = DType::bf16, .b = DType::bf16, .c = DType::f32};
        s.a_layout = Layout::columns, s.accumulate = accumulate, s.threads = 2;
        expect_product(s, level);
        if (HasFatalFailure()) return;
      }
}

TEST(BatchedGemm, StoresLargeOutputsThatBeginAnywhere) {
  constexpr int64_t m = 1400, n = 1504, k = 5, apart = m * n + 4;
  const IsaLevel level = levels().back();
  std::mt19937 random(11);
  Array a(2 * m * k, DType::bf16), b(k * n, DType::bf16), both(2 * apart, DType::f32), one(m * n, DType::f32);
  a.fill(random), b.fill(random);
  GemmProblem p{.m = m,
                .n = n,
                .k = k,
                .a = {a.data(), DType::bf16, k, 1},
                .b = {b.data(), DType::bf16, n, 1},
                .c = both.data()};
  p.c_row_stride = n, p.c_col_stride = 1;
  GemmBatch batch;
  batch.rank = 1, batch.size[0] = 2, batch.a_stride[0] = m * k, batch.c_stride[0] = apart;
  Workspace workspace(batched_gemm_workspace_bytes(m, n, k, 2, DType::bf16, DType::bf16, DType::f32, 2, level));
  batched_gemm(p, batch, workspace.data.get(), 2, level);
  for (int64_t i = 0; i < 2; ++i) {
    p.a.data = a.bytes.data() + i * m * k * 2;
    p.c = one.data();
    gemm(p, workspace.data.get(), 1, level);
    ASSERT_EQ(0, std::memcmp(one.bytes.data(), both.bytes.data() + i * apart * 4, one.bytes.size()))
        << "product " << i;
  }
}

TEST(Gemm, AvoidsCacheCollidingRowsCorrectly) {
  for (const IsaLevel level : levels()) {
    expect_product({.m = 30, .n = 80, .k = 512}, level);
    expect_product({.m = 512, .n = 80, .k = 256, .a_layout = Layout::columns}, level);
  }
}

TEST(Gemm, AnEmptySumGivesBiasOrZeroOrLeavesC) {
  for (const IsaLevel level : levels())
    for (const DType t : {DType::f32, DType::bf16, DType::f16, DType::f64})
      for (const bool flag : {false, true}) {
        Product s{.m = 19, .n = 37, .k = 0, .a = t, .b = t, .c = t, .bias = t};
        expect_product(s, level);
        s.with_bias = flag, s.accumulate = true;
        expect_product(s, level);
      }
}

TEST(Gemm, AnEmptyOutputIsLeftAlone) {
  Workspace workspace(gemm_workspace_bytes(0, 5, 3, DType::f32, DType::f32, DType::f32, 1, IsaLevel::v1));
  float a[15] = {}, b[15] = {}, c[1] = {42.0f};
  GemmProblem p{.m = 0, .n = 5, .k = 3, .a = {a, DType::f32, 3, 1}, .b = {b, DType::f32, 5, 1}, .c = c};
  p.c_row_stride = 5, p.c_col_stride = 1;
  gemm(p, workspace.data.get(), 1);
  EXPECT_EQ(c[0], 42.0f);
}

// sizes {3, 4, 5}; a is shared along dimension 1, b along 0 and 2.
TEST(BatchedGemm, WalksSeveralDimensionsWithSharedOperands) {
  constexpr int64_t extents[][3] = {{9, 21, 13}, {40, 33, 24}, {64, 64, 32}, {20, 40, 600}};
  for (const IsaLevel level : levels())
    for (const auto& [m, n, k] : extents)
      for (const DType t : {DType::f32, DType::bf16, DType::f64})
        for (const Layout c_layout : {Layout::rows, Layout::columns})
          for (const int threads : {1, 2}) {
            GemmBatch batch;
            batch.rank = 3;
            batch.size[0] = 3, batch.size[1] = 4, batch.size[2] = 5;
            batch.a_stride[0] = 5 * m * k, batch.a_stride[2] = m * k;
            batch.b_stride[1] = k * n;
            batch.c_stride[0] = 20 * m * n, batch.c_stride[1] = 5 * m * n, batch.c_stride[2] = m * n;
            std::mt19937 random(3);
            Array a(15 * m * k, t), b(4 * k * n, t), c(60 * m * n, t);
            a.fill(random), b.fill(random), c.fill(random);
            const Strides cs = strides_of(c_layout, m, n);
            GemmProblem p{
                .m = m, .n = n, .k = k, .a = {a.data(), t, k, 1}, .b = {b.data(), t, 1, k}, .c = c.data()};
            p.c_dtype = t, p.c_row_stride = cs.row, p.c_col_stride = cs.col;
            Workspace workspace(batched_gemm_workspace_bytes(m, n, k, batch.count(), t, t, t, threads, level));
            batched_gemm(p, batch, workspace.data.get(), threads, level);
            ASSERT_TRUE(workspace.guard_intact());

            // Each product must have the bits that it has alone.
            for (int64_t x = 0; x < 3; ++x)
              for (int64_t y = 0; y < 4; ++y)
                for (int64_t z = 0; z < 5; ++z) {
                  Array alone(m * n, t);
                  GemmProblem q = p;
                  const auto size = static_cast<int64_t>(size_of(t));
                  q.a.data = a.bytes.data() + (x * 5 + z) * m * k * size;
                  q.b.data = b.bytes.data() + y * k * n * size;
                  q.c = alone.data();
                  Workspace own(gemm_workspace_bytes(m, n, k, t, t, t, 1, level));
                  gemm(q, own.data.get(), 1, level);
                  const int64_t offset = ((x * 4 + y) * 5 + z) * m * n * size;
                  ASSERT_EQ(0, std::memcmp(alone.bytes.data(), c.bytes.data() + offset, alone.bytes.size()))
                      << m << " " << n << " " << k << " " << name_of(t) << " level " << name_of(level)
                      << " product " << x << y << z;
                }
          }
}

TEST(Gemm, ReadsRepeatedRowsAndColumnsThroughStrideZero) {
  for (const IsaLevel level : levels())
    for (const DType t : {DType::f32, DType::bf16}) {
      constexpr int64_t m = 20, n = 35, k = 18;
      std::mt19937 random(3);
      Array a(k, t), b(k, t), c(m * n, DType::f32);
      a.fill(random), b.fill(random);
      GemmProblem p{.m = m, .n = n, .k = k, .a = {a.data(), t, 0, 1}, .b = {b.data(), t, 1, 0}, .c = c.data()};
      p.c_row_stride = n, p.c_col_stride = 1;
      Workspace workspace(gemm_workspace_bytes(m, n, k, t, t, DType::f32, 1, level));
      gemm(p, workspace.data.get(), 1, level);
      double sum = 0;
      for (int64_t l = 0; l < k; ++l) sum += a.get(l) * b.get(l);
      for (int64_t i = 0; i < m * n; ++i) ASSERT_NEAR(c.get(i), sum, 1e-5);
    }
}

TEST(GemmWorkspace, IsPureCoversBothOrientationsAndScalesWithThreads) {
  for (const IsaLevel level : {IsaLevel::v1, IsaLevel::v3, IsaLevel::v4, IsaLevel::amx})
    for (const DType t : {DType::f32, DType::bf16}) {
      const size_t one = gemm_workspace_bytes(4096, 512, 900, t, t, t, 1, level);
      EXPECT_EQ(one, gemm_workspace_bytes(4096, 512, 900, t, t, t, 1, level));
      EXPECT_EQ(one, gemm_workspace_bytes(512, 4096, 900, t, t, t, 1, level));
      EXPECT_EQ(one % kGemmWorkspaceAlignment, 0u);
      EXPECT_LE(one, size_t{3} << 20) << "a slice must stay near the second-level cache";
      EXPECT_GT(gemm_workspace_bytes(4096, 512, 900, t, t, t, 4, level), one);
      // Work too small for a second thread asks for one slice whatever the thread count.
      EXPECT_EQ(gemm_workspace_bytes(8, 8, 8, t, t, t, 64, level),
                gemm_workspace_bytes(8, 8, 8, t, t, t, 1, level));
    }
  // The same on every machine, because the ledger plans with them. The transposed orientation is the
  // larger: packed b of 128 x 1024, one row panel of a (6 rows as 128 steps of 8; 14 as 128 of 16; 32
  // of bf16), 1024 floats of bias.
  const auto skinny = [](DType t, IsaLevel level) {
    return gemm_workspace_bytes(16384, 128, 128, t, t, t, 1, level);
  };
  EXPECT_EQ(skinny(DType::f32, IsaLevel::v1), 128u * 1024 * 4 + 128 * 8 * 4 + 1024 * 4);
  EXPECT_EQ(skinny(DType::f32, IsaLevel::v3), 128u * 1024 * 4 + 128 * 8 * 4 + 1024 * 4);
  EXPECT_EQ(skinny(DType::f32, IsaLevel::v4), 128u * 1024 * 4 + 128 * 16 * 4 + 1024 * 4);
  EXPECT_EQ(skinny(DType::bf16, IsaLevel::amx), 128u * 1024 * 2 + 128 * 32 * 2 + 1024 * 4);
}

TEST(Gemm, NamesTheMistakeInARefusedCall) {
  alignas(64) unsigned char workspace[65536];
  float x[16] = {};
  GemmProblem p{.m = 4, .n = 4, .k = 4, .a = {x, DType::f32, 4, 1}, .b = {x, DType::f32, 4, 1}, .c = x};
  p.c_row_stride = 4, p.c_col_stride = 1;
  GemmProblem mixed = p;
  mixed.a.dtype = DType::f64;
  EXPECT_THROW(gemm(mixed, workspace, 1), Error);
  GemmProblem shared = p;
  shared.c_row_stride = 0;
  EXPECT_THROW(gemm(shared, workspace, 1), Error);
  EXPECT_THROW(gemm(p, nullptr, 1), Error);
  EXPECT_THROW(gemm(p, workspace + 4, 1), Error);
  EXPECT_THROW(gemm(p, workspace, 0), Error);
  GemmBatch batch;
  batch.rank = 1, batch.size[0] = 2;
  EXPECT_THROW(batched_gemm(p, batch, workspace, 1), Error);
  try {
    gemm(mixed, workspace, 1);
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("f64"), std::string::npos);
  }
}

TEST(IsaLevel, NamesRoundTripAndUnknownOnesAreRefused) {
  for (const IsaLevel level : {IsaLevel::v1, IsaLevel::v3, IsaLevel::v4, IsaLevel::amx})
    EXPECT_EQ(isa_level_from_name(name_of(level)), level);
  EXPECT_THROW(isa_level_from_name("v2"), Error);
  EXPECT_LE(cpu_isa_level(), machine_isa_level());
}

using IsaLevelDeathTest = testing::Test;
TEST(IsaLevelDeathTest, TheEnvironmentLowersTheLevelAndNeverRaisesIt) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto code_under = [](const char* limit) {
    setenv("RECKON_MAX_ISA", limit, 1);
    try {
      std::exit(static_cast<int>(cpu_isa_level()));
    } catch (const Error&) {
      std::exit(99);
    }
  };
  const auto machine = static_cast<int>(machine_isa_level());
  EXPECT_EXIT(code_under("v1"), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(code_under("v3"), testing::ExitedWithCode(std::min(1, machine)), "");
  EXPECT_EXIT(code_under("amx"), testing::ExitedWithCode(machine), "");
  EXPECT_EXIT(code_under("avx9"), testing::ExitedWithCode(99), "");
}

}  // namespace
}  // namespace reckon::ops
