// What a GPU's products do about operands that a library does not take: against the CPU, and as planned.
#include "ops/kernel/plan/device_product.h"

#include <array>

#include "tests/simt/one_op.h"

namespace reckon::testing {
namespace {

using View = std::function<Tensor(const Tensor&)>;

Work agrees(const char* op_name, const std::vector<Input>& inputs) {
  const auto make_all = [&](Device& device) {
    TensorList list;
    for (size_t i = 0; i < inputs.size(); ++i) list.push_back(make(device, inputs[i], 11 + i));
    if (list.size() < 3 && op_name == std::string("linear")) list.push_back({});
    return list;
  };
  return expect_agreement(ops::op_by_name(op_name), make_all);
}

View permuted(Dims axes) {
  return [axes](const Tensor& t) { return t.permuted(axes); };
}

TEST(DeviceProduct, MixedTypesAreConvertedIntoWorkspaces) {
  for (auto [a, b] :
       {std::pair{DType::bf16, DType::f32}, {DType::f32, DType::f16}, {DType::bf16, DType::f16}}) {
    const Work w = agrees("matmul", {{{33, 70}, a}, {{70, 65}, b}});
    EXPECT_EQ(w.library_calls, 1);
    EXPECT_EQ(w.kernels, (a != DType::f32) + (b != DType::f32));
  }
}

TEST(DeviceProduct, LinearConvertsOperandsAndBias) {
  EXPECT_EQ(agrees("linear", {{{5, 64}, DType::bf16}, {{31, 64}, DType::bf16}, {{31}, DType::f32}}).kernels, 1);
  EXPECT_EQ(agrees("linear", {{{5, 64}, DType::f32}, {{32, 64}, DType::bf16}, {{32}, DType::bf16}}).kernels, 2);
  EXPECT_EQ(agrees("linear", {{{2, 3, 64}, DType::f32}, {{32, 64}, DType::f32}}).kernels, 0);
}

TEST(DeviceProduct, OperandsWithoutAUnitStrideArePacked) {
  // [i, k, c] as [c, i, k]: the source runs along the batch, so that tiles turn
  // it. Odd extents, and small ones.
  for (auto [i, k, c] : {std::array{70L, 33L, 66L}, {3L, 5L, 7L}, {1L, 200L, 31L}, {65L, 64L, 16L}}) {
    const Work w = agrees("matmul", {{{i, k, c}, DType::bf16, permuted({2, 0, 1})},
                                     {{k, 9, c}, DType::bf16, permuted({2, 0, 1})}});
    EXPECT_EQ(w.library_calls, 1);
    // A single row is a dense column apart from the next.
    EXPECT_EQ(w.kernels, i == 1 ? 1 : 2);
  }
}

TEST(DeviceProduct, OperandsThatOverlapThemselvesArePacked) {
  const View rows = [](const Tensor& t) { return t.expanded({12, 40}); };
  EXPECT_EQ(agrees("matmul", {{{1, 40}, DType::f32, rows}, {{40, 8}}}).kernels, 1);
}

TEST(DeviceProduct, ABatchOverASharedMatrixIsOneProduct) {
  const Work w = agrees("matmul", {{{3, 4, 5, 16}}, {{16, 8}}});
  EXPECT_EQ(w.kernels, 0);
  EXPECT_EQ(w.library_calls, 1);
  const ops::GemmProblem p{.m = 5,
                           .n = 8,
                           .k = 16,
                           .a = {nullptr, DType::f32, 16, 1},
                           .b = {nullptr, DType::f32, 8, 1},
                           .c_row_stride = 8,
                           .c_col_stride = 1};
  const ops::gpu::ProductSteps s = ops::gpu::product_steps(
      p, {.rank = 1, .size = {12}, .a_stride = {80}, .b_stride = {0}, .c_stride = {40}});
  EXPECT_EQ(s.call.problem.m, 60);
  EXPECT_EQ(s.call.batch.rank, 0);
}

TEST(DeviceProduct, VectorsOverASharedMatrixAreItsRows) {
  const Work w = agrees("matmul", {{{6, 16, 7}, DType::f32, permuted({0, 2, 1})}, {{16, 8}}});
  EXPECT_EQ(w.library_calls, 1);
  const View row = [](const Tensor& t) { return t.sliced(1, 2, 3); };
  EXPECT_EQ(agrees("matmul", {{{6, 4, 16}, DType::f32, row}, {{16, 8}}}).library_calls, 1);
}

TEST(DeviceProduct, AFewIrregularProductsAreLibraryCallsOverTheLongestAxis) {
  // Heads of attention: [sequences, positions, heads, channels] as [sequences, heads, positions, channels].
  const Input q{{20, 6, 3, 8}, DType::f32, permuted({0, 2, 1, 3})},
      k{{20, 6, 3, 8}, DType::f32, permuted({0, 2, 3, 1})};
  const Work w = agrees("matmul", {q, k});
  EXPECT_EQ(w.kernels, 0);
  EXPECT_EQ(w.library_calls, 3);
}

TEST(DeviceProduct, ManyIrregularProductsArePackedIntoOneCall) {
  const Input q{{10, 6, 9, 8}, DType::bf16, permuted({0, 2, 1, 3})},
      k{{10, 6, 9, 8}, DType::bf16, permuted({0, 2, 3, 1})};
  const Work w = agrees("matmul", {q, k});
  EXPECT_EQ(w.kernels, 2);
  EXPECT_EQ(w.library_calls, 1);
  // One operand steps as one already.
  const Work one = agrees("matmul", {{{10, 9, 4, 6}}, {{10, 6, 9, 8}, DType::f32, permuted({0, 2, 1, 3})}});
  EXPECT_EQ(one.kernels, 1);
  EXPECT_EQ(one.library_calls, 1);
}

TEST(DeviceProduct, BroadcastBatchesStayUnmaterialised) {
  // Grouped queries: 4 heads of queries share one of keys, so they are its rows.
  Work w = agrees("matmul", {{{3, 2, 4, 5, 8}}, {{3, 2, 1, 8, 6}}});
  EXPECT_EQ(w.kernels, 0);
  EXPECT_EQ(w.library_calls, 1);
  w = agrees("matmul", {{{1, 12, 5, 8}}, {{12, 1, 8, 6}}});
  EXPECT_EQ(w.kernels, 0);
  EXPECT_EQ(w.library_calls, 1);
  // Only the distinct products of an operand are converted.
  w = agrees("matmul", {{{1, 3, 5, 8}, DType::bf16}, {{12, 1, 8, 6}, DType::f32}});
  EXPECT_EQ(w.kernels, 1);
  EXPECT_EQ(w.library_calls, 1);
  // Nothing shared folds here: the first operand differs along both axes, the second along the outer one.
  w = agrees("matmul", {{{4, 7, 8, 5}, DType::f32, permuted({0, 1, 3, 2})}, {{4, 1, 8, 6}}});
  EXPECT_EQ(w.kernels, 0);
  EXPECT_EQ(w.library_calls, 4);
  w = agrees("matmul", {{{9, 10, 8, 5}, DType::f32, permuted({0, 1, 3, 2})}, {{9, 1, 8, 6}}});
  EXPECT_EQ(w.kernels, 1);
  EXPECT_EQ(w.library_calls, 1);
}

TEST(DeviceProduct, EmptyOperandsMakeThePlannedWork) {
  agrees("matmul", {{{0, 7}}, {{7, 3}}});
  agrees("matmul", {{{5, 0}}, {{0, 3}}});
  agrees("matmul", {{{0, 5, 4}}, {{0, 4, 3}}});
  agrees("matmul", {{{5, 7}, DType::bf16}, {{7, 0}, DType::f32}});
  agrees("linear", {{{0, 7}}, {{3, 7}}, {{3}}});
}

TEST(DeviceProduct, MisalignedViewsArePackedElementByElement) {
  const View tail = [](const Tensor& t) { return t.sliced(1, 1, 65); };
  EXPECT_EQ(agrees("matmul", {{{33, 70}, DType::bf16, tail}, {{64, 65}, DType::f32}}).kernels, 1);
  const View aligned = [](const Tensor& t) { return t.sliced(1, 0, 64); };
  EXPECT_EQ(agrees("matmul", {{{33, 72}, DType::bf16, aligned}, {{64, 65}, DType::f32}}).kernels, 1);
}

}  // namespace
}  // namespace reckon::testing
