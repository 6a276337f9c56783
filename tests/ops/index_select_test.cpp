#include "ops/index_select/index_select.h"

#include <gtest/gtest.h>

#include "autograd/engine.h"
#include "autograd/node.h"
#include "ops/concat/concat.h"
#include "ops/fill/fill.h"
#include "ops/view/view.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

using V = std::vector<double>;

Tensor ids_of(Device& d, const std::vector<int64_t>& v, Shape shape) {
  return Tensor::from_host(d, shape, DType::i64, v.data(), v.size() * 8, Category::input);
}
Tensor floats(Device& d, const std::vector<float>& v, Shape shape) {
  return Tensor::from_host(d, shape, DType::f32, v.data(), v.size() * 4, Category::input);
}

TEST(IndexSelect, PicksSlicesAndItsGradientAddsRepeats) {
  auto device = make_device(DeviceKind::cpu);
  Tensor x = floats(*device, {1, 2, 3, 4, 5, 6}, {2, 3});
  autograd::set_requires_grad(x);
  const Tensor y = ops::index_select(x, -1, ids_of(*device, {2, 0, 2}, {3}));
  EXPECT_EQ(to_doubles(y), (V{3, 1, 3, 6, 4, 6}));
  autograd::backward({y}, {floats(*device, {1, 10, 100, 2, 20, 200}, {2, 3})});
  EXPECT_EQ(to_doubles(autograd::grad_of(x)), (V{10, 0, 101, 20, 0, 202}));
}

TEST(IndexSelect, AnIndexOutsideIsNamedBeforeAnythingIsRead) {
  auto device = make_device(DeviceKind::cpu);
  const Tensor x = floats(*device, {1, 2, 3, 4, 5, 6}, {2, 3});
  try {
    ops::index_select(x, 1, ids_of(*device, {0, 3}, {2}));
    FAIL() << "index 3 of 3 was accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("index 3 at position 1"), std::string::npos) << e.what();
  }
  EXPECT_THROW(ops::one_hot(ids_of(*device, {-1}, {1}), 4, DType::f32), Error);
  EXPECT_THROW(ops::scatter_add(x, 0, ids_of(*device, {2}, {1}), floats(*device, {1, 1, 1}, {1, 3})), Error);
}

TEST(ScatterAdd, HalfTypesAddUpInF32) {
  auto device = make_device(DeviceKind::cpu);
  // Added in bf16, 2^-9 would vanish next to 1 every time.
  const Tensor x = ops::full(*device, {1, 1}, DType::bf16, 1.0),
               src = ops::full(*device, {300, 1}, DType::bf16, 0x1p-9);
  const Tensor y = ops::scatter_add(x, 0, ids_of(*device, std::vector<int64_t>(300, 0), {300}), src);
  EXPECT_EQ(to_doubles(y), (V{1.5859375}));
}

TEST(OneHot, PutsOneAtTheIndex) {
  auto device = make_device(DeviceKind::cpu);
  EXPECT_EQ(to_doubles(ops::one_hot(ids_of(*device, {2, 0}, {2}), 3, DType::i64)), (V{0, 0, 1, 1, 0, 0}));
}

TEST(Concat, JoinsViewsAndSplitsItsGradient) {
  auto device = make_device(DeviceKind::cpu);
  Tensor a = floats(*device, {1, 2, 3, 4}, {2, 2}), b = floats(*device, {5, 6}, {2, 1});
  autograd::set_requires_grad(a);
  autograd::set_requires_grad(b);
  const Tensor y = ops::concat({ops::transpose(a, 0, 1), b}, 1);
  EXPECT_EQ(to_doubles(y), (V{1, 3, 5, 2, 4, 6}));
  autograd::backward({y}, {floats(*device, {1, 2, 3, 4, 5, 6}, {2, 3})});
  EXPECT_EQ(to_doubles(autograd::grad_of(a)), (V{1, 4, 2, 5}));
  EXPECT_EQ(to_doubles(autograd::grad_of(b)), (V{3, 6}));
}

TEST(Concat, PartsThatDoNotFitAreNamed) {
  auto device = make_device(DeviceKind::cpu);
  const Tensor a = floats(*device, {1, 2, 3, 4}, {2, 2}), b = floats(*device, {5, 6, 7}, {3, 1});
  try {
    ops::concat({a, b}, 1);
    FAIL() << "2 and 3 rows were joined";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("part 1 is f32[3, 1]"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace reckon::testing
