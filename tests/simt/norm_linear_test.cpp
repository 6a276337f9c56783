// Rows of every kind that norm_linear tells apart on a GPU: up to the widest that fit tiles, and wider ones,
// whose products are the library's.
#include "ops/norm_linear/norm_linear_attrs.h"
#include "ops/norm_linear/norm_linear_gpu.h"
#include "tests/simt/one_op.h"
#include "tests/simt/row_widths.h"

namespace reckon::testing {
namespace {

using ops::NormKind;

struct NormLinear {
  int64_t rows, c;
  std::vector<int64_t> outs;
  DType weights = DType::f32, x = weights;
  NormKind kind = NormKind::layer;
  bool norm_bias = kind == NormKind::layer, misaligned = false;

  int linears() const { return static_cast<int>(outs.size()); }
  bool is_wide() const { return !ops::fits_tiles(c, weights); }
  Tensor tensor(Device& d, const Shape& s, DType t, uint64_t seed) const {
    return misaligned ? make_misaligned(d, {s, t}, seed) : make(d, {s, t}, seed);
  }
};

// Every second linear has a bias.
Work forward(const NormLinear& n) {
  return expect_agreement(
      ops::op_by_name("norm_linear"),
      [&](Device& d) {
        TensorList in{n.tensor(d, {n.rows, n.c}, n.x, 1), n.tensor(d, {n.c}, n.x, 2),
                      n.norm_bias ? n.tensor(d, {n.c}, n.x, 3) : Tensor{}};
        for (size_t i = 0; i < n.outs.size(); ++i) {
          in.push_back(n.tensor(d, {n.outs[i], n.c}, n.weights, 10 + i));
          in.push_back(i % 2 == 0 ? n.tensor(d, {n.outs[i]}, n.weights, 30 + i) : Tensor{});
        }
        return in;
      },
      std::make_shared<ops::NormLinearAttrs>(n.kind, 1e-5), 0, 4);
}

// `needs`: bits of the forward op's inputs; what it cannot mean is left out.
Work backward(const NormLinear& n, uint32_t needs = ~0u, uint32_t used = ~0u) {
  needs &= (1u << (3 + 2 * n.linears())) - 1;
  if (!n.norm_bias) needs &= ~4u;
  for (int i = 0; i < n.linears(); ++i)
    if (!(used >> i & 1u)) needs &= ~(3u << (3 + 2 * i));
  return expect_agreement(
      ops::op_by_name("norm_linear_backward"),
      [&](Device& d) {
        TensorList in{n.tensor(d, {n.rows, n.c}, n.x, 1), n.tensor(d, {n.c}, n.x, 2),
                      n.norm_bias ? n.tensor(d, {n.c}, n.x, 3) : Tensor{},
                      n.kind == NormKind::layer ? make(d, {{n.rows}}, 4) : Tensor{}, make(d, {{n.rows}}, 5)};
        for (size_t i = 0; i < n.outs.size(); ++i) {
          in.push_back(n.tensor(d, {n.outs[i], n.c}, n.weights, 10 + i));
          in.push_back(used >> i & 1u ? n.tensor(d, {n.rows, n.outs[i]}, n.weights, 30 + i) : Tensor{});
        }
        return in;
      },
      std::make_shared<ops::NormLinearAttrs>(n.kind, 1e-5, needs), 0, 4);
}

TEST(NormLinearOnAGpu, AgreesAtWidthsOnBothSidesOfATile) {
  for (int64_t c : kWidths)
    for (int64_t rows : kRows)
      for (DType t : kTypes) {
        SCOPED_TRACE(fmt::format("{} rows of {} in {}", rows, c, name_of(t)));
        const NormLinear n{.rows = rows,
                           .c = c,
                           .outs = {12, 5},
                           .weights = t,
                           .kind = c % 3 == 0 ? NormKind::rms : NormKind::layer};
        const Work f = forward(n), b = backward(n);
        EXPECT_EQ(f.kernels, 1);
        EXPECT_EQ(f.library_calls, n.is_wide() ? 2 : 0);
        EXPECT_EQ(b.kernels, n.is_wide() ? 4 : 3);
        EXPECT_EQ(b.library_calls, n.is_wide() ? 4 : 0);
      }
}

TEST(NormLinearOnAGpu, WideRowsOfOddWidthsAddressesAndTypes) {
  forward({.rows = 5, .c = 265, .outs = {7, 3, 1}, .weights = DType::bf16});
  backward({.rows = 5, .c = 265, .outs = {7, 3, 1}, .weights = DType::bf16});
  for (DType x : {DType::f32, DType::f16}) {
    const NormLinear mixed{
        .rows = 9, .c = 272, .outs = {7, 8}, .weights = DType::bf16, .x = x, .norm_bias = false};
    forward(mixed);
    backward(mixed);
  }
  for (DType t : {DType::f32, DType::bf16}) {
    const NormLinear misaligned{.rows = 9, .c = 264, .outs = {8}, .weights = t, .misaligned = true};
    forward(misaligned);
    backward(misaligned);
  }
  // Wider than what a block holds in registers.
  for (NormKind kind : {NormKind::layer, NormKind::rms}) {
    const NormLinear widest{.rows = 3, .c = 2052, .outs = {4}, .weights = DType::bf16, .kind = kind};
    forward(widest);
    backward(widest);
  }
}

TEST(NormLinearOnAGpu, WideRowsOfManyPiecesSumAllOfThem) {
  const NormLinear n{.rows = 150, .c = 264, .outs = {130, 3}, .weights = DType::bf16};
  forward(n);
  backward(n);
}

TEST(NormLinearOnAGpu, WideRowsLaunchOnlyWhatIsWanted) {
  const NormLinear n{.rows = 9, .c = 136, .outs = {6, 5, 4}};
  const auto counts = [&](uint32_t needs, uint32_t used = ~0u) {
    const Work w = backward(n, needs, used);
    return std::pair(w.kernels, w.library_calls);
  };
  EXPECT_EQ(counts(0x1), std::pair(int64_t{1}, int64_t{3}));         // dx: through the norm
  EXPECT_EQ(counts(0x6), std::pair(int64_t{2}, int64_t{3}));         // the norm's parameters: and their sums
  EXPECT_EQ(counts(0x8 | 0x80), std::pair(int64_t{1}, int64_t{2}));  // two weights: the rows again
  EXPECT_EQ(counts(0x10), std::pair(int64_t{2}, int64_t{0}));        // a bias: columns and their sums
  EXPECT_EQ(counts(~0u, 0x5), std::pair(int64_t{4}, int64_t{4}));    // an output that nobody uses
}

TEST(NormLinearOnAGpu, WideRowsMayBeNone) {
  const NormLinear n{.rows = 0, .c = 264, .outs = {6}, .weights = DType::bf16};
  forward(n);
  backward(n);
}

}  // namespace
}  // namespace reckon::testing
