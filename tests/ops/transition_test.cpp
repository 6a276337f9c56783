#include "ops/transition/transition.h"

#include "ops/transition/transition_attrs.h"
#include "tests/ops/fused_support.h"

namespace reckon::testing {
namespace {

using ops::absent;
using ops::normal;

const ops::AttrsPtr attrs = std::make_shared<ops::TransitionAttrs>(1e-5);

TEST(Transition, ReluEqualsItsCompositionFromSimpleOps) {
  expect_equals_composition(  // 530 rows: more than one row tile
      {normal({10, 53, 12}), normal({12}), normal({12}), normal({20, 12}), normal({20}), normal({9, 20}),
       normal({9})},
      [](const TensorList& in) {
        return TensorList{ops::relu_transition(in[0], in[1], in[2], in[3], in[4], in[5], in[6], 1e-5)};
      },
      [](const TensorList& in) {
        const Tensor n = eager_layer_norm(in[0], in[1], in[2], 1e-5);
        return TensorList{ops::linear(ops::relu(ops::linear(n, in[3], in[4])), in[5], in[6])};
      });
}

TEST(Transition, SwigluEqualsItsCompositionFromSimpleOps) {
  expect_equals_composition(
      {normal({10, 53, 12}), normal({12}), normal({12}), normal({20, 12}), normal({20, 12}), normal({9, 20})},
      [](const TensorList& in) {
        return TensorList{ops::swiglu_transition(in[0], in[1], in[2], in[3], in[4], in[5], 1e-5)};
      },
      [](const TensorList& in) {
        const Tensor n = eager_layer_norm(in[0], in[1], in[2], 1e-5);
        return TensorList{
            ops::linear(ops::mul(ops::silu(ops::linear(n, in[3])), ops::linear(n, in[4])), in[5])};
      });
}

TEST(Transition, SwigluWithoutANormEqualsItsComposition) {
  expect_equals_composition(
      {normal({31, 12}), normal({20, 12}), normal({20, 12}), normal({9, 20})},
      [](const TensorList& in) {
        return TensorList{ops::swiglu_transition(in[0], {}, {}, in[1], in[2], in[3], 0)};
      },
      [](const TensorList& in) {
        return TensorList{
            ops::linear(ops::mul(ops::silu(ops::linear(in[0], in[1])), ops::linear(in[0], in[2])), in[3])};
      });
}

// Eager keeps the norm's output too: rows (c + 2 + n c) beside x.
TEST(Transition, ReluKeepsTheHiddenRowsAndTwoStatistics) {
  const int64_t rows = 40, c = 16, n = 4;
  const auto specs = std::vector{normal({rows, c}), normal({c}),        normal({c}), normal({n * c, c}),
                                 normal({n * c}),   normal({c, n * c}), normal({c})};
  EXPECT_EQ(kept_bytes("relu_transition", specs, attrs, {}), 4 * rows * (n * c + 2));
  EXPECT_EQ(kept_bytes("relu_transition", specs, attrs, {0}), 4 * rows * (c + n * c + 2));
}

// Eager keeps 4 n c per row (both projections, silu, product) and the norm's output:
// rows (c + 2 + 4 n c) beside x.
TEST(Transition, SwigluKeepsTheTwoProjectionsAndTwoStatistics) {
  const int64_t rows = 40, c = 16, n = 4;
  const auto specs = std::vector{normal({rows, c}),  normal({c}),        normal({c}),
                                 normal({n * c, c}), normal({n * c, c}), normal({c, n * c})};
  EXPECT_EQ(kept_bytes("swiglu_transition", specs, attrs, {}), 4 * rows * (2 * n * c + 2));
  auto bare = specs;
  bare[1] = bare[2] = absent();
  EXPECT_EQ(kept_bytes("swiglu_transition", bare, attrs, {0}), 4 * rows * (c + 2 * n * c));
}

TEST(Transition, HoldsNoHiddenRowsWhenNothingNeedsAGradient) {
  const int64_t rows = 16384, c = 16, h = 64;
  for (bool relu : {true, false}) {
    auto device = make_device(DeviceKind::meta);
    const auto make = [&](Shape s) { return Tensor::empty(*device, s, DType::f32); };
    TensorList in{make({rows, c}), make({c}), make({c}), make({h, c})};
    if (relu)
      in.insert(in.end(), {make({h}), make({c, h}), make({c})});
    else
      in.insert(in.end(), {make({h, c}), make({c, h})});
    const ops::OpDef& op = ops::op_by_name(relu ? "relu_transition" : "swiglu_transition");
    const auto held = [&](uint32_t needs) {
      const ops::Plan p = ops::plan_of(op, in, attrs, device->spec(), needs);
      size_t bytes = 0;
      for (const auto& o : p.outputs) bytes += static_cast<size_t>(numel(o.shape)) * size_of(o.dtype);
      for (const auto& w : p.workspaces)
        if (std::string_view(w.label) != "products") bytes += w.bytes;
      return static_cast<int64_t>(bytes);
    };
    const int64_t tiles = 4 * 2048 * (c + (relu ? 1 : 3) * h);
    EXPECT_LE(held(0), 4 * rows * (c + 2) + tiles + 256);
    EXPECT_GE(held(1), 4 * rows * (c + 2 + (relu ? 1 : 2) * h));
  }
}

TEST(Transition, TheSameOutputWithAndWithoutKeptHiddenRows) {
  for (const char* name : {"relu_transition", "swiglu_transition"})
    for (const ops::OpCase& c : ops::op_by_name(name).cases()) {
      auto device = make_device(DeviceKind::cpu);
      const TensorList in = make_inputs(*device, c, DType::f32, 8);
      const auto& op = ops::op_by_name(name);
      EXPECT_EQ(to_doubles(ops::dispatch(op, in, c.attrs, 0)[0]),
                to_doubles(ops::dispatch(op, in, c.attrs, 1)[0]))
          << name << c.name;
    }
}

TEST(Transition, SaysWhichMatrixDoesNotFit) {
  auto device = make_device(DeviceKind::meta);
  const auto make = [&](Shape s) { return Tensor::empty(*device, s, DType::f32); };
  try {
    ops::swiglu_transition(make({2, 8}), {}, {}, make({16, 8}), make({15, 8}), make({8, 16}), 0);
    FAIL() << "projections of different widths were accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("w_b must be [16, 8], got f32[15, 8]"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace reckon::testing
