// Views share storage and cost nothing; reshape knows when it may.
#include "runtime/tensor.h"

#include <gtest/gtest.h>

#include "runtime/core/error.h"
#include "tests/support/op_case_runner.h"

namespace reckon {
namespace {

TEST(Tensor, ViewsAllocateNothing) {
  auto device = testing::make_device(DeviceKind::meta);
  const Tensor t = Tensor::empty(*device, {4, 8}, DType::f32);
  EXPECT_EQ(t.bytes(), 128u) << "a [4, 8] f32 tensor is 128 bytes";
  const auto before = device->arena().stats().n_allocations;
  const Tensor v = t.transposed(0, 1).sliced(0, 2, 5).expanded({7, 3, 4});
  EXPECT_EQ(device->arena().stats().n_allocations, before);
  EXPECT_EQ(v.storage(), t.storage());
  EXPECT_EQ(v.strides(), (Strides{0, 1, 8}));
}

TEST(Tensor, ReshapeIsAViewExactlyWhenTheStridesAllowIt) {
  auto device = testing::make_device(DeviceKind::meta);
  const Tensor t = Tensor::empty(*device, {2, 3, 4, 5}, DType::f32);
  EXPECT_EQ(t.reshaped({6, 20}).strides(), (Strides{20, 1}));
  const Tensor p = t.permuted({1, 0, 2, 3});  // strides 20, 60, 5, 1
  EXPECT_EQ(p.reshaped({3, 2, 20}).strides(), (Strides{20, 60, 1}));
  EXPECT_THROW((void)p.reshaped({6, 20}), Error);
  EXPECT_EQ(t.sliced(3, 0, 1).reshaped({2, 12}).strides(), (Strides{60, 5}));
}

TEST(Tensor, ReadingOnMetaIsANamedError) {
  auto device = testing::make_device(DeviceKind::meta);
  const Tensor t = Tensor::empty(*device, {2}, DType::f32);
  EXPECT_THROW((void)t.data<float>(), Error);
}

TEST(Tensor, SaversTurnTransientIntoSavedAndBack) {
  auto device = testing::make_device(DeviceKind::meta);
  const Tensor t = Tensor::empty(*device, {16}, DType::f32);
  t.storage()->add_saver();
  t.storage()->add_saver();
  EXPECT_EQ(device->arena().live_bytes(Category::saved), 64u);
  t.storage()->drop_saver();
  EXPECT_EQ(device->arena().live_bytes(Category::saved), 64u);
  t.storage()->drop_saver();
  EXPECT_EQ(device->arena().live_bytes(Category::saved), 0u);
  EXPECT_EQ(device->arena().live_bytes(Category::transient), 64u);
}

}  // namespace
}  // namespace reckon
