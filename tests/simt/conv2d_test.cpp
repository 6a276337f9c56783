// Mixed types, planes that are and are not multiples of four, and empty batches,
// beyond the ops' declared cases.
#include "ops/conv2d/conv2d_attrs.h"
#include "tests/simt/one_op.h"

namespace reckon::testing {
namespace {

std::shared_ptr<ops::ConvAttrs> three_by_three(int64_t groups = 1) {
  auto a = std::make_shared<ops::ConvAttrs>();
  for (int i = 0; i < 2; ++i) a->padding[i] = 1, a->kernel[i] = 3;
  a->groups = groups;
  return a;
}

Work forward(int64_t n, int64_t h, int64_t w, DType x, DType weight, DType bias) {
  return expect_agreement(
      ops::op_by_name("conv2d"),
      [&](Device& d) {
        return TensorList{make(d, {{n, 4, h, w}, x}, 1), make(d, {{6, 2, 3, 3}, weight}, 2),
                          make(d, {{6}, bias}, 3)};
      },
      three_by_three(2));
}

TEST(Conv2dOnAGpu, ConvertsWhatIsNotOfTheCommonType) {
  EXPECT_EQ(forward(2, 5, 7, DType::f32, DType::f32, DType::f32).kernels, 1);
  EXPECT_EQ(forward(2, 5, 7, DType::bf16, DType::f32, DType::bf16).kernels, 2);
  EXPECT_EQ(forward(1, 31, 1, DType::bf16, DType::f16, DType::f32).kernels, 3);
  EXPECT_EQ(forward(1, 33, 4, DType::f16, DType::f16, DType::f32).kernels, 1);
}

TEST(Conv2dOnAGpu, AddsTheBiasToPlanesOfAnySize) {
  for (auto [h, w] : {std::pair{1L, 1L}, {4L, 4L}, {5L, 5L}, {20L, 20L}})
    forward(3, h, w, DType::bf16, DType::bf16, DType::bf16);
}

TEST(Conv2dOnAGpu, GradientsConvertToo) {
  auto attrs = three_by_three();
  attrs->image[0] = 6, attrs->image[1] = 5;
  for (auto [a, b] : {std::pair{DType::f32, DType::f32},
                      {DType::bf16, DType::f32},
                      {DType::f32, DType::bf16},
                      {DType::bf16, DType::bf16}}) {
    const int64_t conversions = a == b ? 0 : 1;
    EXPECT_EQ(expect_agreement(
                  ops::op_by_name("conv2d_input_gradient"),
                  [&](Device& d) {
                    return TensorList{make(d, {{2, 3, 6, 5}, a}, 1), make(d, {{3, 4, 3, 3}, b}, 2)};
                  },
                  attrs)
                  .kernels,
              conversions);
    EXPECT_EQ(expect_agreement(
                  ops::op_by_name("conv2d_weight_gradient"),
                  [&](Device& d) {
                    return TensorList{make(d, {{2, 3, 6, 5}, a}, 1), make(d, {{2, 4, 6, 5}, b}, 2)};
                  },
                  attrs)
                  .kernels,
              conversions);
  }
}

TEST(Conv2dOnAGpu, EmptyBatchesMakeThePlannedWork) { forward(0, 5, 7, DType::f32, DType::f32, DType::f32); }

}  // namespace
}  // namespace reckon::testing
