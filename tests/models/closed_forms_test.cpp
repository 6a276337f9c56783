// With nothing fused and nothing recomputed, every block is a plain framework's: bytes kept for backward and
// matrix FLOPs equal the closed forms that were checked against public code, to the byte and to the FLOP.
// Letters as in the models.
#include <gtest/gtest.h>

#include "autograd/engine.h"
#include "autograd/node.h"
#include "models/bioformer/bioformer.h"
#include "models/pairformer/pairformer.h"
#include "parity/books.h"
#include "runtime/events/scope.h"

namespace reckon::models {
namespace {

using parity::Books;

// Elements kept (f32) and forward FLOPs.
struct Expected {
  int64_t saved, flops;
};

class ClosedForms : public ::testing::TestWithParam<bool> {
 protected:
  Device device{DeviceKind::meta, DeviceSpec::this_machine()};
  ParameterSet parameters;
  Builder builder{device, DType::f32, 1, parameters};
  // Published sizes, and sizes where no two numbers agree.
  const bool published = GetParam();
  const int64_t B = published ? 1 : 2, S = published ? 32 : 5, R = published ? 64 : 7;
  const EvoformerConfig af2 = [this] {
    EvoformerConfig c;
    c.name = "test";
    c.mask_transitions = true;
    if (published) return c;
    c.c_m = 20, c.c_z = 14, c.c_hidden_msa = 4, c.heads_msa = 3, c.c_hidden_pair = 5, c.heads_pair = 2,
    c.c_hidden_mul = 10, c.c_hidden_opm = 3;
    c.transition_n = 6;
    return c;
  }();
  const int64_t M = af2.c_m, Z = af2.c_z, n = af2.transition_n, h = af2.heads_msa,
                H = af2.heads_msa * af2.c_hidden_msa, hz = af2.heads_pair,
                Hz = af2.heads_pair * af2.c_hidden_pair, c = af2.c_hidden_mul, o = af2.c_hidden_opm;

  Tensor input(const Shape& shape) {
    Tensor t = Tensor::empty(device, shape, DType::f32, Category::input, "input");
    autograd::set_requires_grad(t);
    return t;
  }
  Tensor mask(const Shape& shape) { return Tensor::empty(device, shape, DType::f32, Category::input, "mask"); }

  template <class F>
  void expect(const Expected& e, F f) {
    parity::FlopCounter flops(device);
    Books books;
    TensorList outputs;
    {
      PhaseScope phase(Phase::forward);
      outputs = f();
    }
    EXPECT_EQ(static_cast<int64_t>(device.arena().live_bytes(Category::saved)), 4 * B * e.saved);
    flops.write_to(&books);
    EXPECT_EQ(books.forward_flops, B * e.flops);
    TensorList seeds;
    for (const Tensor& t : outputs)
      seeds.push_back(Tensor::empty(device, t.shape(), t.dtype(), Category::input, "seed"));
    autograd::backward(outputs, seeds);
    flops.write_to(&books);
    // The count of the outer product mean has no gradient: it is paid once, the rest twice.
    EXPECT_EQ(books.backward_flops, 2 * (books.forward_flops - B * undifferentiated));
    outputs.clear();
    EXPECT_EQ(device.arena().live_bytes(Category::saved), 0u) << "backward lets go of everything";
  }
  int64_t undifferentiated = 0;

  Expected row() const {
    return {S * R * (M + 6 * H + 2) + S * h * R * R + R * R * (Z + 2),
            10 * S * R * M * H + 4 * S * R * R * H + 2 * R * R * Z * h};
  }
  Expected column() const {
    return {S * R * (M + 6 * H + 2) + R * h * S * S, 10 * S * R * M * H + 4 * R * S * S * H};
  }
  Expected msa_transition() const { return {S * R * (M + 2 + n * M), 4 * n * S * R * M * M}; }
  int64_t count_flops() const { return 2 * S * R * R; }
  Expected opm() const {
    return {S * R * (M + 2 + 2 * o) + R * R * o * o + R * R,
            4 * S * R * M * o + 2 * S * R * R * o * o + 2 * R * R * o * o * Z + count_flops()};
  }
  Expected triangle_multiplication() const {
    return {R * R * (3 * Z + 10 * c + 4), 2 * R * R * Z * (5 * c + Z) + 2 * R * R * R * c};
  }
  Expected triangle_attention() const {
    return {R * R * (Z + 6 * Hz + 2) + hz * R * R * R,
            10 * R * R * Z * Hz + 2 * R * R * Z * hz + 4 * R * R * R * Hz};
  }
  Expected pair_transition() const { return {R * R * (Z + 2 + n * Z), 4 * n * R * R * Z * Z}; }
};

TEST_P(ClosedForms, MsaRowAttention) {
  const MsaRowAttention module(builder, "x", af2);
  const Tensor m = input({B, S, R, M}), z = input({B, R, R, Z}), k = mask({B, S, R});
  expect(row(), [&]() -> TensorList { return {module(m, z, k)}; });
}

TEST_P(ClosedForms, MsaColumnAttention) {
  const MsaColumnAttention module(builder, "x", af2);
  const Tensor m = input({B, S, R, M}), k = mask({B, S, R});
  expect(column(), [&]() -> TensorList { return {module(m, k)}; });
}

TEST_P(ClosedForms, Transitions) {
  const Transition msa(builder, "msa", M, n), pair(builder, "pair", Z, n);
  const Tensor m = input({B, S, R, M}), z = input({B, R, R, Z}), km = mask({B, S, R}), kz = mask({B, R, R});
  expect(msa_transition(), [&]() -> TensorList { return {msa(m, km)}; });
  expect(pair_transition(), [&]() -> TensorList { return {pair(z, kz)}; });
}

TEST_P(ClosedForms, OuterProductMean) {
  const OuterProductMean module(builder, "x", M, o, Z);
  const Tensor m = input({B, S, R, M}), k = mask({B, S, R});
  undifferentiated = count_flops();
  expect(opm(), [&]() -> TensorList { return {module(m, k)}; });
}

TEST_P(ClosedForms, TriangleMultiplications) {
  for (const bool outgoing : {true, false}) {
    const TriangleMultiplication module(builder, outgoing ? "out" : "in",
                                        models::triangle_multiplication(af2.pair_stack()), outgoing);
    const Tensor z = input({B, R, R, Z}), k = mask({B, R, R});
    expect(triangle_multiplication(), [&]() -> TensorList { return {module(z, k)}; });
  }
}

TEST_P(ClosedForms, TriangleAttentions) {
  for (const auto axis : {AttentionAxis::rows, AttentionAxis::columns}) {
    const TriangleAttention module(builder, axis == AttentionAxis::rows ? "start" : "end", af2.pair_stack(),
                                   axis);
    const Tensor z = input({B, R, R, Z}), k = mask({B, R, R});
    expect(triangle_attention(), [&]() -> TensorList { return {module(z, k)}; });
  }
}

TEST_P(ClosedForms, EvoformerBlockIsTheSumOfItsPartsAndEightStates) {
  const EvoformerBlock block(builder, "x", af2);
  const Tensor m = input({B, S, R, M}), z = input({B, R, R, Z});
  const EvoformerInputs in{mask({B, S, R}), mask({B, R, R}), {}};
  const Expected parts[] = {row(),
                            column(),
                            msa_transition(),
                            opm(),
                            triangle_multiplication(),
                            triangle_multiplication(),
                            triangle_attention(),
                            triangle_attention(),
                            pair_transition()};
  Expected sum{3 * S * R * M + 5 * R * R * Z, 0};
  for (const Expected& e : parts) sum = {sum.saved + e.saved, sum.flops + e.flops};
  undifferentiated = count_flops();
  expect(sum, [&] { return block(m, z, in); });
}

// AlphaFold 3, N = R tokens.
PairformerConfig pairformer_config(bool published) {
  PairformerConfig c;
  if (published) return c;
  c.c_s = 18, c.c_z = 14, c.heads_single = 3, c.c_hidden_pair = 5, c.heads_pair = 2, c.c_hidden_mul = 10,
  c.pair_transition_n = 2;
  return c;
}

TEST_P(ClosedForms, PairformerBlock) {
  const PairformerConfig p = pairformer_config(published);
  const int64_t C = p.c_s, Zp = p.c_z, k = p.c_hidden_mul, g = p.heads_pair, G = p.heads_pair * p.c_hidden_pair,
                q = p.heads_single, N = R;
  const auto swiglu = [](int64_t rows, int64_t width, int64_t factor) {
    return Expected{rows * (width + 2 + 4 * factor * width), 6 * factor * rows * width * width};
  };
  const Expected parts[] = {
      {N * N * (3 * Zp + 10 * k + 4), 2 * N * N * Zp * (5 * k + Zp) + 2 * N * N * N * k},
      {N * N * (3 * Zp + 10 * k + 4), 2 * N * N * Zp * (5 * k + Zp) + 2 * N * N * N * k},
      {N * N * (Zp + 6 * G + 2) + g * N * N * N, 10 * N * N * Zp * G + 2 * N * N * Zp * g + 4 * N * N * N * G},
      {N * N * (Zp + 6 * G + 2) + g * N * N * N, 10 * N * N * Zp * G + 2 * N * N * Zp * g + 4 * N * N * N * G},
      swiglu(N * N, Zp, p.pair_transition_n),
      {N * (7 * C + 2) + q * N * N + N * N * (Zp + 2), 10 * N * C * C + 4 * N * N * C + 2 * N * N * Zp * q},
      swiglu(N, C, p.single_transition_n)};
  Expected sum{5 * N * N * Zp + N * C, 0};  // z1 .. z5 and s1; s0 and z0 belong to the block before
  for (const Expected& e : parts) sum = {sum.saved + e.saved, sum.flops + e.flops};
  const PairformerBlock block(builder, "x", p);
  const Tensor s = input({B, N, C}), z = input({B, N, N, Zp});
  const PairformerInputs in{mask({B, N, N}), {}, {}};
  expect(sum, [&] { return block(s, z, in); });
}

TEST_P(ClosedForms, BioformerBlock) {
  BioformerConfig b;
  if (!published) b = {.c_m = 20, .c_z = 14, .c_opm = 3, .heads = 5};
  const int64_t w = b.c_m, r = R, d = b.c_opm;
  const Expected attention{r * (5 * w + 2) + b.heads * r * r + r * r * (b.c_z + 2),
                           8 * r * w * w + 4 * r * r * w + 2 * r * r * b.c_z * b.heads};
  const Expected transition{r * (5 * w + 2), 16 * r * w * w};
  const Expected outer{r * (w + 2 + 2 * d) + r * r * d * d, 4 * r * w * d + 2 * r * r * d * d * b.c_z};
  const BioformerBlock block(builder, "x", b);
  const Tensor m = input({B, r, w}), z = input({B, r, r, b.c_z});
  // The states after attention and transition are kept beside the parts.
  expect({2 * r * w + attention.saved + transition.saved + outer.saved,
          attention.flops + transition.flops + outer.flops},
         [&] { return block(m, z); });
}

INSTANTIATE_TEST_SUITE_P(Sizes, ClosedForms, ::testing::Bool(),
                         [](const auto& i) { return i.param ? "published" : "odd"; });

}  // namespace
}  // namespace reckon::models
