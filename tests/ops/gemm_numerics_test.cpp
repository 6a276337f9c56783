// Bits of matrix products: repeatability, NaN and infinity, conversions.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "tests/ops/gemm_fixture.h"

namespace reckon::ops {
namespace {

decltype(Array::bytes) bits_of_product(int64_t m, int64_t n, int64_t k, DType in, DType out, Layout c_layout,
                                       int threads, IsaLevel level) {
  std::mt19937 random(5);
  Array a(m * k, in), b(k * n, in), c(m * n, out), bias(n, in);
  a.fill(random), b.fill(random), c.fill(random), bias.fill(random);
  const Strides cs = strides_of(c_layout, m, n);
  GemmProblem p{.m = m, .n = n, .k = k, .a = {a.data(), in, k, 1}, .b = {b.data(), in, 1, k}, .c = c.data()};
  p.c_dtype = out, p.c_row_stride = cs.row, p.c_col_stride = cs.col;
  p.alpha = 0.3, p.accumulate = true, p.bias = bias.data(), p.bias_dtype = in;
  Workspace workspace(gemm_workspace_bytes(m, n, k, in, in, out, threads, level));
  gemm(p, workspace.data.get(), threads, level);
  return c.bytes;
}

TEST(GemmNumerics, GivesTheSameBitsOnAnyNumberOfThreads) {
  constexpr int64_t sizes[][3] = {{301, 293, 310}, {531, 130, 127}, {97, 700, 600}};
  for (const IsaLevel level : levels())
    for (const auto& [m, n, k] : sizes)
      for (const DType in : {DType::f32, DType::bf16, DType::f64})
        for (const DType out : {DType::f32, DType::bf16})
          for (const Layout layout : {Layout::rows, Layout::columns}) {
            const DType c = in == DType::f64 ? DType::f64 : out;
            const auto one = bits_of_product(m, n, k, in, c, layout, 1, level);
            for (const int threads : {2, 3, 7})
              ASSERT_EQ(one, bits_of_product(m, n, k, in, c, layout, threads, level))
                  << m << " " << n << " " << k << " " << name_of(in) << " " << threads << " " << name_of(level);
          }
}

TEST(GemmNumerics, PropagatesNanAndInfinityLikeTheNaiveFormula) {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  for (const IsaLevel level : levels())
    for (const DType t : {DType::f32, DType::bf16, DType::f16, DType::f64})
      for (const Layout layout : {Layout::rows, Layout::columns, Layout::both_strided}) {
        constexpr int64_t m = 21, n = 37, k = 35;
        const Strides as = strides_of(layout, m, k), bs = strides_of(layout, k, n);
        std::mt19937 random(11);
        Array a(as.extent, t), b(bs.extent, t), c(m * n, t);
        a.fill(random), b.fill(random);
        // Row 2 of a: infinity meets a zero of b in column 5. Column 36 of b: NaN at the last step.
        // Row 20, the last, is zero, which does not hide the NaN.
        a.set(2 * as.row + 34 * as.col, inf);
        b.set(34 * bs.row + 5 * bs.col, 0);
        b.set(34 * bs.row + 36 * bs.col, nan);
        for (int64_t l = 0; l < k; ++l) a.set(20 * as.row + l * as.col, 0);
        GemmProblem p{
            .m = m, .n = n, .k = k, .a = {a.data(), t, as.row, as.col}, .b = {b.data(), t, bs.row, bs.col}};
        p.c = c.data(), p.c_dtype = t, p.c_row_stride = n, p.c_col_stride = 1;
        Workspace workspace(gemm_workspace_bytes(m, n, k, t, t, t, 1, level));
        gemm(p, workspace.data.get(), 1, level);
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < n; ++j) {
            double sum = 0;
            for (int64_t l = 0; l < k; ++l)
              sum += a.get(i * as.row + l * as.col) * b.get(l * bs.row + j * bs.col);
            const double got = c.get(i * n + j);
            ASSERT_EQ(std::isnan(got), std::isnan(sum)) << i << " " << j << " " << name_of(t) << name_of(level);
            ASSERT_EQ(std::isinf(got), std::isinf(sum)) << i << " " << j << " " << name_of(t) << name_of(level);
            if (std::isinf(sum)) {
              ASSERT_EQ(got, sum);
            }
          }
      }
}

// A product with one is exact, so every bit pattern of the narrow types must arrive as dtype.h converts it. AMX
// takes denormals as zero, therefore bf16 starts at the smallest normal there.
TEST(GemmNumerics, ConvertsEveryBf16AndF16PatternExactly) {
  constexpr int64_t count = 65536;
  for (const IsaLevel level : levels())
    for (const DType t : {DType::bf16, DType::f16}) {
      Array patterns(count, t), c(count, DType::f32), back(count, t);
      for (int64_t i = 0; i < count; ++i)
        reinterpret_cast<uint16_t*>(patterns.data())[i] = static_cast<uint16_t>(i);
      float one = 1.0f;
      GemmProblem p{
          .m = 1, .n = count, .k = 1, .a = {&one, DType::f32, 1, 1}, .b = {patterns.data(), t, count, 1}};
      p.c = c.data(), p.c_row_stride = count, p.c_col_stride = 1;
      Workspace workspace(gemm_workspace_bytes(1, count, 1, DType::f32, t, DType::f32, 1, level));
      gemm(p, workspace.data.get(), 1, level);
      p.c = back.data(), p.c_dtype = t;
      Workspace narrow(gemm_workspace_bytes(1, count, 1, DType::f32, t, t, 1, level));
      gemm(p, narrow.data.get(), 1, level);
      for (int64_t i = 0; i < count; ++i) {
        const double expected = patterns.get(i);
        if (std::isnan(expected)) {
          ASSERT_TRUE(std::isnan(c.get(i)) && std::isnan(back.get(i))) << i;
        } else {
          ASSERT_EQ(c.get(i), expected) << i << " " << name_of(t) << " " << name_of(level);
          ASSERT_EQ(back.get(i), expected) << i << " " << name_of(t) << " " << name_of(level);
        }
      }
    }
}

TEST(GemmNumerics, RoundsResultsToNearestEven) {
  std::mt19937 random(23);
  constexpr int64_t count = 1 << 16;
  Array wide(count, DType::f32);
  for (int64_t i = 0; i < count; ++i) {
    // Any finite float of a moderate exponent, a third of them exact ties of bf16 or f16.
    uint32_t u =
        (static_cast<uint32_t>(random()) & 0x807fffffu) | ((95u + static_cast<uint32_t>(i % 50)) << 23);
    if (i % 3 == 1) u = (u & 0xffff0000u) | 0x8000u;
    if (i % 3 == 2) u = (u & 0xffffe000u) | 0x1000u;
    std::memcpy(wide.bytes.data() + i * 4, &u, 4);
  }
  for (const IsaLevel level : levels())
    for (const DType t : {DType::bf16, DType::f16}) {
      Array c(count, t);
      float one = 1.0f;
      GemmProblem p{
          .m = 1, .n = count, .k = 1, .a = {&one, DType::f32, 1, 1}, .b = {wide.data(), DType::f32, count, 1}};
      p.c = c.data(), p.c_dtype = t, p.c_row_stride = count, p.c_col_stride = 1;
      Workspace workspace(gemm_workspace_bytes(1, count, 1, DType::f32, DType::f32, t, 1, level));
      gemm(p, workspace.data.get(), 1, level);
      for (int64_t i = 0; i < count; ++i) {
        const float v = static_cast<float>(wide.get(i));
        const uint16_t expected = t == DType::bf16 ? f32_to_bf16(v) : f32_to_f16(v);
        ASSERT_EQ(reinterpret_cast<const uint16_t*>(c.bytes.data())[i], expected) << v << " " << name_of(level);
      }
    }
}

}  // namespace
}  // namespace reckon::ops
