// The triangle multiplication on sizes that cross tiles of positions and of channels, with whole vectors and
// without, with mixed types, and for every gradient alone; what its plans refuse.
#include <gtest/gtest.h>

#include "ops/rules.h"
#include "ops/triangle_multiply/triangle_multiply_attrs.h"
#include "tests/gpu/gpu_device.h"
#include "tests/gpu/smallest_shapes.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

namespace in = ops::triangle;

struct Triangle {
  int64_t B, R, cz, c, c_out;
  bool outgoing = true, biases = true, masked = true, z_f32 = false;
  double scale = 2;  // of the tolerance: a chain of products, each rounded
};

std::string describe(const Triangle& p, DType t) {
  return fmt::format("B{} R{} {} {} {} {} {} {}{}", p.B, p.R, p.cz, p.c, p.c_out,
                     p.outgoing ? "outgoing" : "incoming", p.biases ? "biases" : "", name_of(t),
                     p.z_f32 ? " of f32" : "");
}

bool is_bias(int k) {
  return k == in::b_a || k == in::b_ag || k == in::b_b || k == in::b_bg || k == in::b_z || k == in::b_g;
}

std::vector<ops::InputSpec> forward_inputs(const Triangle& p, bool with_biases) {
  std::vector<ops::InputSpec> specs(in::n_inputs, ops::absent());
  specs[in::z] = ops::normal({p.B, p.R, p.R, p.cz});
  specs[in::z].fixed_f32 = p.z_f32;
  if (p.masked) specs[in::mask] = ops::mask01({p.B, p.R, p.R});
  specs[in::ln_in_w] = ops::normal({p.cz});
  specs[in::ln_out_w] = ops::normal({p.c});
  if (p.biases) specs[in::ln_in_b] = specs[in::ln_in_w], specs[in::ln_out_b] = specs[in::ln_out_w];
  for (int k : {in::w_a, in::w_ag, in::w_b, in::w_bg}) specs[k] = ops::normal({p.c, p.cz});
  specs[in::w_z] = ops::normal({p.c_out, p.c});
  specs[in::w_g] = ops::normal({p.c_out, p.cz});
  for (int k = in::w_a; k < in::n_inputs && p.biases && with_biases; ++k)
    if (is_bias(k)) specs[k] = ops::normal({specs[k - 1].shape[0]});
  return specs;
}

// What a device holds, as doubles, without running an op of that device.
TensorList run(Device& device, std::string_view op, const Triangle& p, const std::vector<ops::InputSpec>& specs,
               DType t, uint32_t needs) {
  const TensorList inputs = make_inputs(device, {.name = "", .inputs = specs}, t, 23);
  return ops::dispatch(ops::op_by_name(op), inputs,
                       std::make_shared<ops::TriangleMultiplyAttrs>(p.outgoing, 1e-5, needs), needs);
}

void expect_agreement(std::string_view op, const Triangle& p, const std::vector<ops::InputSpec>& specs, DType t,
                      uint32_t needs) {
  SCOPED_TRACE(describe(p, t));
  const auto gpu = make_gpu(), cpu = make_device(DeviceKind::cpu);
  const TensorList got = run(*gpu, op, p, specs, t, needs), want = run(*cpu, op, p, specs, DType::f64, needs);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_LE(relative_error(to_doubles(got[i]), to_doubles(want[i])), tolerance(t) * p.scale)
        << "output " << i;
}

std::vector<DType> types() {
  return smallest_shapes() ? std::vector<DType>{DType::bf16}
                           : std::vector<DType>{DType::f32, DType::bf16, DType::f16};
}

// Every row is a number of whole vectors; two batch elements, z wider than the weights.
const Triangle kWholeVectors{.B = 2,
                             .R = 16,
                             .cz = 32,
                             .c = 64,
                             .c_out = 32,
                             .outgoing = false,
                             .biases = false,
                             .masked = false,
                             .z_f32 = true};

TEST(TriangleMultiplyOnAGpu, ForwardAgreesAcrossTiles) {
  const Triangle crossing = smallest_shapes() ? Triangle{.B = 1, .R = 12, .cz = 32, .c = 40, .c_out = 32}
                                              : Triangle{.B = 1, .R = 33, .cz = 64, .c = 40, .c_out = 72};
  for (DType t : types())
    expect_agreement("triangle_multiply", crossing, forward_inputs(crossing, true), t, ~0u);
  expect_agreement("triangle_multiply", kWholeVectors, forward_inputs(kWholeVectors, true), DType::bf16, ~0u);
}

TEST(TriangleMultiplyOnAGpu, KeepingForBackwardChangesNoBitOfTheOutput) {
  const Triangle p{.B = 1, .R = 13, .cz = 24, .c = 33, .c_out = 17};
  const auto gpu = make_gpu();
  for (DType t : {DType::f32, DType::bf16}) {
    const auto specs = forward_inputs(p, true);
    EXPECT_EQ(run(*gpu, "triangle_multiply", p, specs, t, ~0u)[0].to_host(),
              run(*gpu, "triangle_multiply", p, specs, t, 0)[0].to_host())
        << name_of(t);
  }
}

std::vector<ops::InputSpec> backward_inputs(const Triangle& p) {
  std::vector<ops::InputSpec> specs{ops::normal({p.B, p.R, p.R, p.c_out})};
  for (const ops::InputSpec& s : forward_inputs(p, false)) specs.push_back(s);
  for (int k = 0; k < in::n_kept; ++k) {
    if (k >= in::mean_in)
      specs.push_back(ops::positive({p.B, p.R, p.R})), specs.back().fixed_f32 = true;
    else
      specs.push_back(ops::normal({p.B, p.R, p.R, k == in::o || k == in::g ? p.c_out : p.c}));
  }
  return specs;
}

constexpr uint32_t kEverything = 0x3fffd, kWithoutBiases = 0x15555;  // all but the mask

TEST(TriangleMultiplyOnAGpu, BackwardAgreesAcrossTiles) {
  const Triangle crossing = smallest_shapes() ? Triangle{.B = 1, .R = 12, .cz = 32, .c = 72, .c_out = 32}
                                              : Triangle{.B = 1, .R = 33, .cz = 64, .c = 72, .c_out = 40};
  for (DType t : types())
    expect_agreement("triangle_multiply_backward", crossing, backward_inputs(crossing), t, kEverything);
  expect_agreement("triangle_multiply_backward", kWholeVectors, backward_inputs(kWholeVectors), DType::bf16,
                   kWithoutBiases);
}

TEST(TriangleMultiplyOnAGpu, EveryGradientAloneHasTheBitsOfAll) {
  const Triangle p{.B = 1, .R = 3, .cz = 6, .c = 5, .c_out = 7};
  const auto gpu = make_gpu();
  const auto specs = backward_inputs(p);
  const TensorList all = run(*gpu, "triangle_multiply_backward", p, specs, DType::bf16, kEverything);
  size_t next = 0;
  for (int k = 0; k < in::n_inputs; ++k) {
    if (k == in::mask) continue;
    const TensorList one = run(*gpu, "triangle_multiply_backward", p, specs, DType::bf16, 1u << k);
    ASSERT_EQ(one.size(), 1u);
    EXPECT_EQ(one[0].to_host(), all[next++].to_host()) << "input " << k;
  }
}

TEST(TriangleMultiplyOnAGpu, ForwardTakesTheWidestRows) {
  const Triangle p{.B = 1, .R = 12, .cz = 256, .c = 136, .c_out = 200};
  expect_agreement("triangle_multiply", p, forward_inputs(p, true), DType::bf16, ~0u);
}

TEST(TriangleMultiplyOnAGpu, BackwardTakesTheWidestRows) {
  const Triangle p{.B = 1, .R = 12, .cz = 256, .c = 136, .c_out = 200};
  expect_agreement("triangle_multiply_backward", p, backward_inputs(p), DType::bf16, kEverything);
}

ops::Plan plan(std::string_view op, const std::vector<ops::InputSpec>& specs, DType t, const DeviceSpec& spec,
               uint32_t needs) {
  Device meta(DeviceKind::meta, spec);
  const TensorList inputs = make_inputs(meta, {.name = "", .inputs = specs}, t, 23);
  return ops::plan_of(ops::op_by_name(op), inputs,
                      std::make_shared<ops::TriangleMultiplyAttrs>(true, 1e-5, needs), spec, needs);
}

TEST(TriangleMultiplyOnAGpu, LaunchesDoNotGrowWithTheBatch) {
  const Triangle p{.B = 5, .R = 9, .cz = 24, .c = 16, .c_out = 24};
  EXPECT_EQ(plan("triangle_multiply", forward_inputs(p, true), DType::bf16, gpu_spec(), ~0u).launches.size(),
            3u);
  EXPECT_EQ(plan("triangle_multiply_backward", backward_inputs(p), DType::bf16, gpu_spec(), kEverything)
                .launches.size(),
            7u);
}

TEST(TriangleMultiplyOnAGpu, RefusesWiderRowsByName) {
  const auto refuses = [](int64_t widest, DType t) {
    const Triangle p{.B = 1, .R = 4, .cz = 8, .c = widest, .c_out = 8};
    try {
      plan("triangle_multiply", forward_inputs(p, true), t, gpu_spec(), 0);
    } catch (const Error& e) {
      return std::string(e.what()).find("leave triangle out of --fuse") != std::string::npos;
    }
    return false;
  };
  EXPECT_TRUE(refuses(129, DType::f32));
  EXPECT_FALSE(refuses(128, DType::f32));
  EXPECT_TRUE(refuses(257, DType::bf16));
  EXPECT_FALSE(refuses(256, DType::bf16));
}

}  // namespace
}  // namespace reckon::testing
