// Rows of every kind that the transitions tell apart on a GPU: up to the widest that fit tiles, and wider ones,
// whose products are the library's, in one chunk of rows and in several.
#include "ops/transition/transition_attrs.h"
#include "ops/transition/transition_wide.h"
#include "tests/simt/one_op.h"
#include "tests/simt/row_widths.h"

namespace reckon::testing {
namespace {

struct Perceptron {
  int64_t rows, c, h, out;
  DType weights = DType::f32, x = weights;
  bool gated = false, normalised = true, biases = true, misaligned = false;

  bool is_wide() const { return !ops::transition_fused(c, out, weights); }
  Tensor tensor(Device& d, const Shape& s, DType t, uint64_t seed) const {
    return misaligned ? make_misaligned(d, {s, t}, seed) : make(d, {s, t}, seed);
  }
  Tensor norm(Device& d, uint64_t seed) const { return normalised ? tensor(d, {c}, x, seed) : Tensor{}; }
};

Work forward(const Perceptron& p, bool keeps, size_t library_bytes = 0) {
  return expect_agreement(
      ops::op_by_name(p.gated ? "swiglu_transition" : "relu_transition"),
      [&](Device& d) {
        TensorList in{p.tensor(d, {p.rows, p.c}, p.x, 1), p.norm(d, 2), p.biases ? p.norm(d, 3) : Tensor{},
                      p.tensor(d, {p.h, p.c}, p.weights, 4)};
        if (p.gated) {
          in.insert(in.end(), {p.tensor(d, {p.h, p.c}, p.weights, 5), p.tensor(d, {p.out, p.h}, p.weights, 6)});
        } else {
          in.insert(in.end(), {p.biases ? p.tensor(d, {p.h}, p.weights, 5) : Tensor{},
                               p.tensor(d, {p.out, p.h}, p.weights, 6),
                               p.biases ? p.tensor(d, {p.out}, p.weights, 7) : Tensor{}});
        }
        return in;
      },
      std::make_shared<ops::TransitionAttrs>(1e-5), library_bytes, 4, keeps ? ~0u : 0);
}

Work backward(const Perceptron& p, uint32_t needs = ~0u, size_t library_bytes = 0) {
  needs &= p.gated ? 0x3fu : 0x7fu;
  if (!p.normalised) needs &= ~6u;
  if (!p.biases) needs &= p.gated ? ~4u : ~0x54u;
  return expect_agreement(
      ops::op_by_name(p.gated ? "swiglu_transition_backward" : "relu_transition_backward"),
      [&](Device& d) {
        const auto statistic = [&](uint64_t seed) {
          return p.normalised ? make(d, {{p.rows}}, seed) : Tensor{};
        };
        TensorList in{p.tensor(d, {p.rows, p.out}, p.weights, 1),
                      p.tensor(d, {p.rows, p.c}, p.x, 2),
                      p.norm(d, 3),
                      p.biases ? p.norm(d, 4) : Tensor{},
                      statistic(5),
                      statistic(6),
                      p.tensor(d, {p.rows, p.h}, p.weights, 7)};
        if (p.gated) in.push_back(p.tensor(d, {p.rows, p.h}, p.weights, 8));
        in.push_back(p.tensor(d, {p.h, p.c}, p.weights, 9));
        if (p.gated) in.push_back(p.tensor(d, {p.h, p.c}, p.weights, 10));
        in.push_back(p.tensor(d, {p.out, p.h}, p.weights, 11));
        return in;
      },
      std::make_shared<ops::TransitionAttrs>(1e-5, needs), library_bytes, 4);
}

TEST(TransitionOnAGpu, AgreesAtWidthsOnBothSidesOfATile) {
  for (int64_t c : kWidths)
    for (int64_t rows : kRows)
      for (DType t : kTypes)
        for (bool gated : {false, true}) {
          SCOPED_TRACE(fmt::format("{} rows of {} in {}{}", rows, c, name_of(t), gated ? ", gated" : ""));
          // Outputs as wide as the rows where those fit tiles: both have their limit.
          Perceptron p{.rows = rows, .c = c, .h = 20, .out = 12, .weights = t, .gated = gated};
          if (!p.is_wide() && rows == 1) p.out = c;
          const Work f = forward(p, rows > 1), b = backward(p);
          EXPECT_EQ(f.kernels, p.is_wide() && gated ? 2 : 1);
          EXPECT_EQ(f.library_calls, p.is_wide() ? (gated ? 3 : 2) : 0);
          EXPECT_EQ(b.kernels, p.is_wide() ? (gated ? 4 : 5) : 3);
          EXPECT_EQ(b.library_calls, p.is_wide() ? (gated ? 6 : 4) : 0);
        }
}

TEST(TransitionOnAGpu, WideRowsOfOddWidthsAddressesAndTypes) {
  for (bool gated : {false, true}) {
    const Perceptron odd{
        .rows = 5, .c = 265, .h = 19, .out = 3, .weights = DType::bf16, .gated = gated, .biases = false};
    const Perceptron wide_out{.rows = 5, .c = 8, .h = 12, .out = 300, .weights = DType::f16, .gated = gated};
    const Perceptron misaligned{
        .rows = 5, .c = 264, .h = 20, .out = 8, .weights = DType::bf16, .gated = gated, .misaligned = true};
    const Perceptron mixed{
        .rows = 5, .c = 264, .h = 20, .out = 8, .weights = DType::bf16, .x = DType::f32, .gated = gated};
    for (const Perceptron& p : {odd, wide_out, misaligned, mixed}) {
      forward(p, true);
      forward(p, false);
      backward(p);
    }
  }
  // Without a norm rows of the weights' type are read as they lie, and dx of f32 is written by the products.
  for (DType x : {DType::f32, DType::bf16, DType::f16})
    for (DType t : {DType::f32, DType::bf16}) {
      const Perceptron bare{.rows = 5,
                            .c = 264,
                            .h = 20,
                            .out = 8,
                            .weights = t,
                            .x = x,
                            .gated = true,
                            .normalised = false,
                            .biases = false};
      forward(bare, false);
      backward(bare);
    }
}

TEST(TransitionOnAGpu, ChunksOfRowsAddUp) {
  constexpr size_t kSmall = size_t{16} << 10;
  for (bool gated : {false, true})
    for (DType t : {DType::f32, DType::bf16}) {
      const Perceptron p{.rows = 700, .c = 264, .h = 20, .out = 8, .weights = t, .gated = gated};
      const ops::WideTransition s({gated, p.rows, p.c, p.h, p.out}, t, t, true, false, kSmall);
      EXPECT_EQ(s.chunks.count, 2);
      EXPECT_EQ(s.chunks.height, 384);
      EXPECT_EQ(forward(p, false, kSmall).library_calls, 2 * (gated ? 3 : 2));
      EXPECT_EQ(backward(p, ~0u, kSmall).library_calls, 2 * (gated ? 6 : 4));
    }
  const Perceptron bare{.rows = 600,
                        .c = 264,
                        .h = 8,
                        .out = 4,
                        .weights = DType::bf16,
                        .gated = true,
                        .normalised = false,
                        .biases = false};
  forward(bare, true, kSmall);
  backward(bare, ~0u, kSmall);
}

TEST(TransitionOnAGpu, WideRowsLaunchOnlyWhatIsWanted) {
  const auto counts = [&](bool gated, uint32_t needs) {
    const Work w = backward({.rows = 9, .c = 136, .h = 12, .out = 6, .gated = gated}, needs);
    return std::pair(w.kernels, w.library_calls);
  };
  using Counts = std::pair<int64_t, int64_t>;
  EXPECT_EQ(counts(false, 0x60), Counts(2, 1));  // outer weight and bias: the columns of dy, and their sums
  EXPECT_EQ(counts(false, 0x10), Counts(2, 1));  // inner bias
  EXPECT_EQ(counts(false, 0x01), Counts(2, 2));  // dx
  EXPECT_EQ(counts(false, 0x08), Counts(2, 2));  // inner weight
  EXPECT_EQ(counts(true, 0x01), Counts(2, 3));
  EXPECT_EQ(counts(true, 0x20), Counts(1, 2));
  EXPECT_EQ(counts(true, 0x06), Counts(3, 3));
}

TEST(TransitionOnAGpu, WideRowsMayBeNone) {
  for (bool gated : {false, true}) {
    const Perceptron p{.rows = 0, .c = 264, .h = 20, .out = 8, .weights = DType::bf16, .gated = gated};
    forward(p, false);
    backward(p);
  }
}

// As the CPU's tiles do, within a library workspace per tile or 512 rows.
TEST(TransitionOnAGpu, HiddenRowsThatAreNotKeptNeverExistWhole) {
  for (const auto& [rows, h] :
       {std::pair{65536L, 4864L}, {8192L, 18944L}, {100L, 4864L}, {513L, 1L << 20}, {0L, 64L}}) {
    const ops::HiddenChunks chunks(rows, 2 * h, size_t{32} << 20);
    int64_t sum = 0;
    for (int64_t i = 0; i < chunks.count; ++i) {
      EXPECT_LE(chunks.of(i), chunks.height);
      sum += chunks.of(i);
    }
    EXPECT_EQ(sum, rows);
    EXPECT_LE(chunks.height * 2 * h, std::max(int64_t{32} << 20, ops::HiddenChunks::kLeast * 2 * h));
    EXPECT_TRUE(chunks.count == 1 || chunks.height % ops::kTileRows == 0);
  }
  Device meta(DeviceKind::meta, simt::spec());
  const auto tensor = [&](const Shape& s) { return Tensor::empty(meta, s, DType::bf16); };
  const int64_t rows = 16384, c = 896, h = 4864;
  const TensorList in{tensor({rows, c}), {}, {}, tensor({h, c}), tensor({h, c}), tensor({c, h})};
  const ops::Plan p = ops::plan_of(ops::op_by_name("swiglu_transition"), in,
                                   std::make_shared<ops::TransitionAttrs>(0.0), meta.spec(), 0);
  size_t bytes = 0;
  for (const auto& w : p.workspaces) bytes += w.bytes;
  EXPECT_LE(bytes, 3 * meta.spec().library_workspace_bytes);
  EXPECT_EQ(p.launches.size(), 5u * 4);
}

}  // namespace
}  // namespace reckon::testing
