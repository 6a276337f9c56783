// Several tiles of pairs, channels, outputs and rows, both orders, chunks of projected rows and mixed types,
// which the op's declared cases do not reach on a GPU.
#include "ops/outer_product_mean/outer_product_mean_gpu.h"
#include "tests/gpu/smallest_shapes.h"
#include "tests/simt/one_op.h"

namespace reckon::testing {
namespace {

using ops::OuterNormalize;
using ops::OuterSizes;

struct Product {
  OuterSizes n;
  DType low = DType::f32;
  bool masked = false, bias = true;
  OuterNormalize normalize = OuterNormalize::divide_after;
  DType sides = DType::f64;  // f64: the weight's

  Input side() const { return {{n.batch, n.s, n.r, n.c}, sides == DType::f64 ? low : sides}; }
  Input weight() const { return {{n.cz, n.c * n.c}, low}; }
  Tensor mask(Device& d) const {
    if (!masked) return {};
    std::vector<float> v(static_cast<size_t>(n.batch * n.s * n.r));
    for (size_t i = 0; i < v.size(); ++i) v[i] = i * 7 % 5 != 0;
    return Tensor::from_host(d, {n.batch, n.s, n.r}, DType::f32, v.data(), v.size() * 4, Category::input,
                             "mask");
  }
  ops::AttrsPtr attrs(uint32_t needs = 0) const {
    return std::make_shared<ops::OuterProductMeanAttrs>(ops::OuterProductMeanOptions{normalize, 1e-3}, needs);
  }
};

int64_t forward(const Product& p, size_t library_bytes = 0) {
  return expect_agreement(
             ops::op_by_name("outer_product_mean"),
             [&](Device& d) {
               return TensorList{make(d, p.side(), 1), make(d, p.side(), 2), make(d, p.weight(), 3),
                                 p.bias ? make(d, {{p.n.cz}, p.low}, 4) : Tensor{}, p.mask(d)};
             },
             p.attrs(), library_bytes)
      .kernels;
}

int64_t backward(const Product& p, uint32_t needs, size_t library_bytes = 0) {
  return expect_agreement(
             ops::op_by_name("outer_product_mean_backward"),
             [&](Device& d) {
               return TensorList{make(d, {{p.n.batch, p.n.r, p.n.r, p.n.cz}, p.low}, 5), make(d, p.side(), 1),
                                 make(d, p.side(), 2), make(d, p.weight(), 3), p.mask(d)};
             },
             p.attrs(needs), library_bytes)
      .kernels;
}

const std::vector<OuterSizes> kOuterFirst = {{2, 33, 9, 5, 7}, {1, 33, 17, 8, 20}, {1, 40, 5, 18, 130}};
const std::vector<OuterSizes> kProjectFirst = {
    {2, 1, 33, 8, 70}, {1, 2, 130, 6, 5}, {2, 5, 9, 33, 3}, {1, 1, 17, 70, 2}};

TEST(OuterProductMeanOnAGpu, AgreesAcrossTiles) {
  for (const OuterSizes& n : smallest_shapes() ? std::vector<OuterSizes>{{1, 33, 9, 5, 7}} : kOuterFirst) {
    ASSERT_FALSE(ops::outer_tiles(n, false).project_first || ops::outer_tiles(n, true).project_first);
    for (DType t : {DType::f32, DType::bf16, DType::f16}) {
      SCOPED_TRACE(fmt::format("s {} r {} c {} cz {} {}", n.s, n.r, n.c, n.cz, name_of(t)));
      const bool masked = t != DType::f16;
      EXPECT_EQ(forward({.n = n, .low = t, .masked = masked}), 1 + masked);
      EXPECT_EQ(backward({.n = n, .low = t, .masked = masked}, 0xf), 4 + masked);
    }
  }
}

TEST(OuterProductMeanOnAGpu, AgreesWhenProjectedFirst) {
  for (const OuterSizes& n : smallest_shapes() ? std::vector<OuterSizes>{{1, 2, 9, 5, 3}} : kProjectFirst) {
    ASSERT_TRUE(ops::outer_tiles(n, false).project_first && ops::outer_tiles(n, true).project_first);
    for (DType t : {DType::f32, DType::bf16, DType::f16}) {
      SCOPED_TRACE(fmt::format("s {} r {} c {} cz {} {}", n.s, n.r, n.c, n.cz, name_of(t)));
      const bool masked = t != DType::f16;
      EXPECT_EQ(forward({.n = n, .low = t, .masked = masked}), 2 + masked);
      EXPECT_EQ(backward({.n = n, .low = t, .masked = masked}, 0xf), 7 + masked);
    }
  }
}

TEST(OuterProductMeanOnAGpu, AgreesOverLongColumns) {
  for (DType t : {DType::f32, DType::bf16}) {
    forward({.n = {1, 130, 3, 3, 2}, .low = t});
    backward({.n = {1, 130, 3, 3, 2}, .low = t}, 0x3);
  }
}

TEST(OuterProductMeanOnAGpu, AgreesInEveryNormalization) {
  for (const OuterSizes& n : {OuterSizes{1, 33, 5, 4, 3}, OuterSizes{1, 2, 9, 4, 3}})
    for (OuterNormalize how :
         {OuterNormalize::none, OuterNormalize::divide_after, OuterNormalize::divide_before})
      for (bool masked : {false, true}) {
        forward({.n = n, .masked = masked, .bias = masked, .normalize = how});
        backward({.n = n, .masked = masked, .normalize = how}, 0xf);
      }
}

TEST(OuterProductMeanOnAGpu, MakesOnlyWhatIsWanted) {
  for (const OuterSizes& n : {OuterSizes{2, 33, 9, 4, 5}, OuterSizes{2, 2, 9, 4, 3}})
    for (uint32_t needs = 1; needs < 16; ++needs) backward({.n = n, .low = DType::bf16, .masked = true}, needs);
}

TEST(OuterProductMeanOnAGpu, TakesSidesOfAnotherType) {
  for (const OuterSizes& n : {OuterSizes{1, 33, 9, 8, 8}, OuterSizes{1, 2, 9, 8, 8}})
    for (auto [sides, low] :
         {std::pair{DType::f32, DType::bf16}, {DType::f16, DType::f32}, {DType::bf16, DType::f16}}) {
      forward({.n = n, .low = low, .sides = sides});
      backward({.n = n, .low = low, .masked = true, .sides = sides}, 0xf);
    }
}

TEST(OuterProductMeanOnAGpu, ProjectsInChunks) {
  const OuterSizes n{3, 2, 9, 8, 6};  // 384 B of f32 a row (batch, i)
  for (auto [bytes, chunks] : {std::pair{size_t{384 * 9}, 2}, {size_t{384 * 4 / 2}, 9}}) {
    const ops::ProjectedChunks c(n, DType::f32, bytes);
    EXPECT_EQ(c.count(), chunks);
    int64_t rows = 0;
    for (int64_t k = 0; k < c.count(); ++k) {
      EXPECT_EQ(c.first(k), rows);
      rows += c.size(k);
    }
    EXPECT_EQ(rows, n.batch * n.r);
    EXPECT_EQ(forward({.n = n, .masked = true}, bytes), 1 + 2 * chunks);
    EXPECT_EQ(backward({.n = n, .masked = true}, 0xf, bytes), 1 + 5 * chunks + 2);
  }
}

TEST(OuterProductMeanOnAGpu, KeepsToFewLaunchesAndBytes) {
  const auto plan = [](const OuterSizes& n, bool backward, bool masked) {
    Device meta(DeviceKind::meta, DeviceSpec::gpu());
    const Product p{.n = n, .low = DType::bf16};
    const auto empty = [&](const Shape& s, DType t = DType::bf16) {
      return Tensor::empty(meta, s, t, Category::input, "x");
    };
    TensorList in;
    if (backward) in.push_back(empty({n.batch, n.r, n.r, n.cz}));
    in.push_back(empty(p.side().shape));
    in.push_back(empty(p.side().shape));
    in.push_back(empty(p.weight().shape));
    if (!backward) in.push_back(empty({n.cz}));
    in.push_back(masked ? empty({n.batch, n.s, n.r}, DType::f32) : Tensor{});
    return ops::plan_of(ops::op_by_name(backward ? "outer_product_mean_backward" : "outer_product_mean"), in,
                        p.attrs(0xf), meta.spec(), 0);
  };
  const auto bytes = [](const ops::Plan& p) {
    size_t sum = 0;
    for (const ops::WorkspaceSpec& w : p.workspaces) sum += w.bytes;
    return sum;
  };
  const OuterSizes af2{1, 128, 256, 32, 128}, af3{1, 1024, 384, 32, 128}, genes{2, 1, 250, 64, 128};
  EXPECT_EQ(plan(af2, false, true).launches.size(), 2u);
  EXPECT_EQ(plan(af2, true, true).launches.size(), 5u);
  EXPECT_EQ(plan(af3, false, false).launches.size(), 1u);
  EXPECT_EQ(plan(af3, true, false).launches.size(), 4u);
  EXPECT_EQ(plan(genes, false, false).launches.size(), 2u);
  EXPECT_EQ(plan(genes, true, false).launches.size(), 7u);
  EXPECT_LE(bytes(plan(af2, true, true)), size_t{20} << 20);
  EXPECT_LE(bytes(plan(af3, true, false)), size_t{20} << 20);
  EXPECT_LE(bytes(plan(genes, true, false)), size_t{32} << 20);
}

}  // namespace
}  // namespace reckon::testing
