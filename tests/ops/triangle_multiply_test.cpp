#include "ops/triangle_multiply/triangle_multiply.h"

#include "ops/triangle_multiply/triangle_multiply_attrs.h"
#include "tests/ops/fused_support.h"

namespace reckon::testing {
namespace {

using ops::absent;
using ops::mask01;
using ops::normal;

ops::TriangleMultiplyWeights weights_of(const TensorList& in) {
  return {in[2],  in[3],  in[4],  in[5],  in[6],  in[7],  in[8],  in[9],
          in[10], in[11], in[12], in[13], in[14], in[15], in[16], in[17]};
}

Tensor eager(const TensorList& in, bool outgoing, double eps) {
  const ops::TriangleMultiplyWeights w = weights_of(in);
  const Tensor x = eager_layer_norm(in[0], w.ln_in_w, w.ln_in_b, eps);
  Tensor a = ops::mul(ops::sigmoid(ops::linear(x, w.w_ag, w.b_ag)), ops::linear(x, w.w_a, w.b_a));
  Tensor b = ops::mul(ops::sigmoid(ops::linear(x, w.w_bg, w.b_bg)), ops::linear(x, w.w_b, w.b_b));
  if (in[1].defined()) {
    const Tensor m = in[1].reshaped({in[1].size(0), in[1].size(1), in[1].size(2), 1});
    a = ops::mul(a, m);
    b = ops::mul(b, m);
  }
  // [B, c, i, k] x [B, c, k, j]
  const Tensor left = ops::permute(a, outgoing ? Dims{0, 3, 1, 2} : Dims{0, 3, 2, 1});
  const Tensor right = ops::permute(b, outgoing ? Dims{0, 3, 2, 1} : Dims{0, 3, 1, 2});
  const Tensor t = ops::contiguous(ops::permute(ops::matmul(left, right), {0, 2, 3, 1}));
  const Tensor n = eager_layer_norm(t, w.ln_out_w, w.ln_out_b, eps);
  return ops::mul(ops::linear(n, w.w_z, w.b_z), ops::sigmoid(ops::linear(x, w.w_g, w.b_g)));
}

std::vector<ops::InputSpec> specs_of(int64_t batches, int64_t r, int64_t cz, int64_t c, int64_t c_out,
                                     bool biases, bool masked) {
  const auto bias = [&](int64_t n) { return biases ? normal({n}) : absent(); };
  return {normal({batches, r, r, cz}),
          masked ? mask01({batches, r, r}) : absent(),
          normal({cz}),
          normal({cz}),
          normal({c, cz}),
          bias(c),
          normal({c, cz}),
          bias(c),
          normal({c, cz}),
          bias(c),
          normal({c, cz}),
          bias(c),
          normal({c}),
          normal({c}),
          normal({c_out, c}),
          bias(c_out),
          normal({c_out, cz}),
          bias(c_out)};
}

void expect_equal(const std::vector<ops::InputSpec>& specs, bool outgoing) {
  expect_equals_composition(
      specs,
      [&](const TensorList& in) {
        return TensorList{ops::triangle_multiply(in[0], in[1], weights_of(in), outgoing, 1e-5)};
      },
      [&](const TensorList& in) { return TensorList{eager(in, outgoing, 1e-5)}; });
}

TEST(TriangleMultiply, EqualsItsCompositionFromSimpleOpsInBothDirections) {
  for (bool outgoing : {true, false}) {
    expect_equal(specs_of(2, 7, 12, 20, 9, true, true), outgoing);
    expect_equal(specs_of(1, 9, 12, 12, 12, false, false), outgoing);
  }
}

TEST(TriangleMultiply, EqualsItsCompositionOverSeveralRowTilesAndChannelBlocks) {
  for (bool outgoing : {true, false}) expect_equal(specs_of(2, 27, 8, 35, 8, true, true), outgoing);
}

// The two directions differ: a direction mixed up would pass a test that only compares each with itself.
TEST(TriangleMultiply, OutgoingSumsOverRowsAndIncomingOverColumns) {
  auto device = make_device(DeviceKind::cpu);
  const ops::OpCase c{.name = "z", .inputs = specs_of(1, 6, 4, 4, 4, true, false)};
  TensorList in = make_inputs(*device, c, DType::f64, 3);
  const auto run = [&](bool outgoing, const Tensor& z) {
    return to_doubles(ops::triangle_multiply(z, {}, weights_of(in), outgoing, 1e-5));
  };
  const auto swapped = ops::contiguous(in[0].transposed(1, 2));
  EXPECT_GT(relative_error(run(true, in[0]), run(false, in[0])), 1e-2);
  // On the transposed pair, only the output gate tells the directions apart; with a constant gate they agree.
  std::vector<double> zeros(16, 0.0);
  in[16] = Tensor::from_host(*device, {4, 4}, DType::f64, zeros.data(), zeros.size() * 8, Category::input);
  EXPECT_LE(relative_error(run(true, in[0]), run(false, swapped)), 1e-12);
}

// Eager keeps R^2 (3 c_z + 10 c + 4) beside z; this op 5c + 2 c_z + 4, with z 8c for c = c_z.
TEST(TriangleMultiply, KeepsEightValuesPerChannelAndPosition) {
  const int64_t r = 32, c = 128;
  const auto specs = specs_of(1, r, c, c, c, true, true);
  const auto attrs = std::make_shared<ops::TriangleMultiplyAttrs>(true, 1e-5);
  EXPECT_EQ(kept_bytes("triangle_multiply", specs, attrs, {}), 4 * r * r * (5 * c + 2 * c + 4));
  EXPECT_EQ(kept_bytes("triangle_multiply", specs, attrs, {ops::triangle::z}), 4 * r * r * (8 * c + 4));
}

TEST(TriangleMultiply, NothingGrowsWithTheThirdPowerOfR) {
  auto device = make_device(DeviceKind::meta);
  const auto attrs = std::make_shared<ops::TriangleMultiplyAttrs>(true, 1e-5, 0x3fffdu);
  const auto workspace = [&](int64_t r, bool backward) {
    TensorList in;
    for (const auto& s : specs_of(1, r, 128, 128, 128, true, true))
      in.push_back(Tensor::empty(*device, s.shape, DType::f32));
    if (backward) {
      in.insert(in.begin(), in[0]);
      for (int k = 0; k < ops::triangle::n_kept; ++k)
        in.push_back(Tensor::empty(*device, k < ops::triangle::mean_in ? Shape{1, r, r, 128} : Shape{1, r, r},
                                   DType::f32));
    }
    const ops::Plan p =
        ops::plan_of(ops::op_by_name(backward ? "triangle_multiply_backward" : "triangle_multiply"), in, attrs,
                     device->spec(), ~0u);
    double bytes = 0;
    for (const auto& w : p.workspaces) bytes += static_cast<double>(w.bytes);
    return bytes;
  };
  for (bool backward : {false, true}) {
    EXPECT_LE(workspace(768, backward), 4.2 * workspace(384, backward));
    // In pair tensors R^2 c: three blocks of 16 channels forward; dt, db and four
    // blocks backward; and the tiles.
    EXPECT_LE(workspace(768, backward), 4.0 * 768 * 768 * 128 * (backward ? 2.5 : 0.375) + (16 << 20));
  }
}

TEST(TriangleMultiply, TheSameOutputWithAndWithoutKeptProjections) {
  const auto& op = ops::op_by_name("triangle_multiply");
  for (const ops::OpCase& c : op.cases()) {
    auto device = make_device(DeviceKind::cpu);
    const TensorList in = make_inputs(*device, c, DType::f64, 8);
    const TensorList bare = ops::dispatch(op, in, c.attrs, 0), kept = ops::dispatch(op, in, c.attrs, 1);
    EXPECT_EQ(bare.size(), 1u);
    EXPECT_EQ(to_doubles(bare[0]), to_doubles(kept[0])) << c.name;
  }
}

TEST(TriangleMultiply, NamesTheWeightThatDoesNotFit) {
  auto device = make_device(DeviceKind::meta);
  TensorList in;
  for (const auto& s : specs_of(1, 4, 6, 5, 6, true, false))
    in.push_back(s.optional_absent ? Tensor{} : Tensor::empty(*device, s.shape, DType::f32));
  in[10] = Tensor::empty(*device, {4, 6}, DType::f32);
  try {
    ops::triangle_multiply(in[0], in[1], weights_of(in), true, 1e-5);
    FAIL() << "gates of another width were accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("w_bg must be [5, 6], got f32[4, 6]"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace reckon::testing
