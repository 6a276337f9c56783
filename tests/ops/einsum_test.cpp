// Equations against plain loops over all labels, forward and backward, and against the work they should cost.
#include "ops/einsum/einsum.h"

#include <gtest/gtest.h>

#include "autograd/engine.h"
#include "autograd/node.h"
#include "ops/einsum/equation.h"
#include "ops/fill/fill.h"
#include "ops/view/view.h"
#include "tests/support/event_log.h"
#include "tests/support/op_case_runner.h"

namespace reckon::testing {
namespace {

using ops::Labels;
using V = std::vector<double>;
using Extents = std::map<std::string, int64_t>;

const Extents kExtents{{"a", 2}, {"b", 2}, {"c", 3}, {"d", 4}, {"h", 3}, {"i", 5}, {"j", 4},
                       {"k", 6}, {"m", 2}, {"n", 3}, {"o", 7}, {"q", 5}, {"s", 4}};

Shape shape_of(const Labels& labels) {
  Shape s;
  for (const auto& l : labels) s.push_back(kExtents.at(l));
  return s;
}

int64_t position(const Labels& labels, const std::map<std::string, int64_t>& at) {
  int64_t p = 0;
  for (const auto& l : labels) p = p * kExtents.at(l) + at.at(l);
  return p;
}

// Every assignment of all labels adds one product.
V loops(const std::vector<std::pair<Labels, V>>& operands, const Labels& output) {
  Labels all = output;
  for (const auto& [labels, values] : operands) all.insert(all.end(), labels.begin(), labels.end());
  std::map<std::string, int64_t> at;
  for (const auto& l : all) at[l] = 0;
  V out(static_cast<size_t>(numel(shape_of(output))), 0.0);
  while (true) {
    double p = 1;
    for (const auto& [labels, values] : operands) p *= values[static_cast<size_t>(position(labels, at))];
    out[static_cast<size_t>(position(output, at))] += p;
    auto l = at.begin();
    while (l != at.end() && ++l->second == kExtents.at(l->first)) (l++)->second = 0;
    if (l == at.end()) return out;
  }
}

Tensor random(Device& device, const Shape& shape, uint64_t stream) {
  Tensor t = Tensor::empty(device, shape, DType::f64);
  ops::fill_random(t, ops::Distribution::normal, 0.0, 1.0, 5, stream);
  return t;
}

struct Einsum : ::testing::TestWithParam<const char*> {};

TEST_P(Einsum, AgreesWithPlainLoopsForwardAndBackward) {
  auto device = make_device(DeviceKind::cpu);
  const ops::Equation e = ops::parse_letters(GetParam());
  TensorList in;
  std::vector<std::pair<Labels, V>> values;
  for (size_t i = 0; i < e.operands.size(); ++i) {
    in.push_back(random(*device, shape_of(e.operands[i]), i));
    autograd::set_requires_grad(in[i]);
    values.push_back({e.operands[i], to_doubles(in[i])});
  }
  const Tensor y = in.size() == 1 ? ops::einsum(GetParam(), {in[0]}) : ops::einsum(GetParam(), {in[0], in[1]});
  EXPECT_EQ(y.shape(), shape_of(e.output));
  EXPECT_LE(relative_error(to_doubles(y), loops(values, e.output)), 1e-13);
  const Tensor seed = random(*device, y.shape(), 9);
  autograd::backward({y}, {seed});
  for (size_t i = 0; i < in.size(); ++i) {
    std::vector<std::pair<Labels, V>> rest{{e.output, to_doubles(seed)}};
    if (in.size() == 2) rest.push_back(values[1 - i]);
    const V expected = loops(rest, e.operands[i]);
    EXPECT_LE(relative_error(to_doubles(autograd::grad_of(in[i])), expected), 1e-13) << "operand " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Equations, Einsum,
                         ::testing::Values("bqhd,bkhd->bhqk", "bhqk,bkhd->bqhd", "bikc,bjkc->bijc",
                                           "bkic,bkjc->bijc", "bsic,bsjd->bijcd", "bshd,hdo->bso", "ij,jk->k",
                                           "ij,jk->ki", "ij,ij->", "ij,ji->", "ij,ij->ji", "i,j->ji", "ij,jk->",
                                           "bij,bj->bi", "ii->", "ii->i", "bcb->bc", "ijk->kj", "ij->",
                                           "i , i ->", "iij,jk->ik", "abcdmn,abcdmi->abcdmni",
                                           "iabcm,mabcj->abcij", "shd,dho->os"));

TEST(EinsumEquation, WordsMeanWhatLettersMean) {
  auto device = make_device(DeviceKind::cpu);
  const Tensor q = random(*device, {2, 3, 5, 4}, 1), k = random(*device, {2, 3, 6, 4}, 2);
  const Tensor y =
      ops::einsum_named("batch head query dim, batch head key dim -> batch head query key", {q, k});
  EXPECT_EQ(y.shape(), (Shape{2, 3, 5, 6}));
  EXPECT_EQ(to_doubles(y), to_doubles(ops::einsum("bhqd,bhkd->bhqk", {q, k})));
}

TEST(EinsumEquation, TransposedOperandsGoIntoOneMatrixProductWithoutACopy) {
  auto device = make_device(DeviceKind::meta);
  const Tensor q = Tensor::empty(*device, {2, 5, 3, 4}, DType::f32),
               k = Tensor::empty(*device, {2, 6, 3, 4}, DType::f32);
  EventLog log;
  device->add_sink(&log);
  const Tensor y = ops::einsum("bqhd,bkhd->bhqk", {q, k});
  device->remove_sink(&log);
  int launches = 0;
  int64_t flops = 0;
  for (const Event& e : log.events) {
    launches += e.kind == EventKind::launched;
    if (e.kind == EventKind::op_end) flops += e.cost.matmul_flops;
  }
  EXPECT_EQ(launches, 1);
  EXPECT_EQ(flops, 1440);
}

// Values of PyTorch 1.13.1 in f64.
TEST(EinsumEquation, ALabelOfOneOperandAloneIsSummedAsPublished) {
  auto device = make_device(DeviceKind::cpu);
  const V a{0.48130613565444946, 0.9491392970085144,  0.07146861404180527, -0.4478926956653595,
            0.05232736095786095, 1.271154522895813,   1.913474440574646,   1.488573670387268,
            1.0197538137435913,  1.562293529510498,   1.154367446899414,   -1.2754441499710083,
            1.174433946609497,   0.5417501330375671,  0.24636636674404144, 0.14823821187019348,
            0.9054258465766907,  -0.7591556906700134, -1.0815128087997437, 0.4148351550102234};
  const V b{0.2884303033351898,  0.5382778644561768,    0.8648035526275635,   0.6823179721832275,
            1.5885192155838013,  -2.855811357498169,    -0.867361307144165,   0.29570716619491577,
            -1.4581631422042847, 1.1010044813156128,    0.12289360165596008,  0.5104377865791321,
            0.7105618119239807,  -0.012487674131989479, 0.3111267685890198,   1.2369542121887207,
            -1.7542471885681152, -0.2128133922815323,   0.780060887336731,    -1.2472394704818726,
            -0.9487935304641724, 0.9388128519058228,    -0.07612762600183487, -1.382732629776001,
            -0.7191745638847351, -0.24512362480163574,  -1.28367018699646,    -0.6133373379707336,
            -0.6530384421348572, -0.28531089425086975};
  const auto tensor = [&](const V& v, Shape s) {
    return Tensor::from_host(*device, s, DType::f64, v.data(), v.size() * 8, Category::input);
  };
  EXPECT_LE(relative_error(to_doubles(ops::einsum("ij,jk->k", {tensor(a, {4, 5}), tensor(b, {5, 6})})),
                           {-1.4888946384651047, 1.7589934628725747, -3.329863665053441, 5.906554030665225,
                            0.2055119749963965, -8.566453346829608}),
            1e-13);
}

// Values of numpy.einsum on 1, 2, 3, ... in each operand; a result that lacks the operands' "..." as
// torch.einsum defines it (numpy refuses), worked out by hand.
struct WithEllipsis {
  const char* equation;
  std::vector<Shape> in;
  Shape shape;
  V values;
};

TEST(EinsumEquation, EllipsisMeansWhatNumpyAndTorchMean) {
  const WithEllipsis table[] = {
      {"...ij,...jk->...ik", {{2, 1, 2, 2}, {3, 2, 2}}, {2, 3, 2, 2}, {7,  10, 15, 22,  19,  22,  43,  50,
                                                                       31, 34, 71, 78,  23,  34,  31,  46,
                                                                       67, 78, 91, 106, 111, 122, 151, 166}},
      {"b...,b...->b...", {{2, 2}, {2, 1}}, {2, 2}, {1, 2, 6, 8}},
      {"i...->...i", {{2, 3}}, {3, 2}, {1, 4, 2, 5, 3, 6}},
      {"...ii->...i", {{2, 2, 2}}, {2, 2}, {1, 4, 5, 8}},
      {"...,i->...i", {{2}, {3}}, {2, 3}, {1, 2, 3, 2, 4, 6}},
      {"...->...", {{2}}, {2}, {1, 2}},
      {"i->...i", {{2}}, {2}, {1, 2}},
      {"...i->i", {{2, 2, 2}}, {2}, {1 + 3 + 5 + 7, 2 + 4 + 6 + 8}},
      {"...i,...i->i", {{2, 2}, {1, 2}}, {2}, {(1 + 3) * 1, (2 + 4) * 2}},
      // without "->"
      {"i...", {{2, 3}}, {3, 2}, {1, 4, 2, 5, 3, 6}},
      {"b...a", {{2, 2, 2}}, {2, 2, 2}, {1, 5, 2, 6, 3, 7, 4, 8}},
      {"...ii", {{2, 2, 2}}, {2}, {5, 13}},
      {"ba", {{2, 2}}, {2, 2}, {1, 3, 2, 4}},
      {"Ba", {{2, 2}}, {2, 2}, {1, 2, 3, 4}},
      {"ij,jk", {{2, 2}, {2, 2}}, {2, 2}, {7, 10, 15, 22}}};
  auto device = make_device(DeviceKind::cpu);
  for (const WithEllipsis& e : table) {
    TensorList in;
    for (const Shape& shape : e.in) {
      V counting(static_cast<size_t>(numel(shape)));
      for (size_t i = 0; i < counting.size(); ++i) counting[i] = static_cast<double>(i + 1);
      in.push_back(from_doubles(*device, shape, DType::f64, counting));
    }
    const Tensor y =
        in.size() == 1 ? ops::einsum(e.equation, {in[0]}) : ops::einsum(e.equation, {in[0], in[1]});
    EXPECT_EQ(to_string(y.shape()), to_string(e.shape)) << e.equation;
    EXPECT_EQ(to_doubles(y), e.values) << e.equation;
  }
}

TEST(EinsumEquation, EllipsisStandsForTheAxesWrittenOutForwardAndBackward) {
  auto device = make_device(DeviceKind::cpu);
  V grads[2][2];
  for (const int ellipsis : {0, 1}) {
    Tensor a = random(*device, {2, 3, 4, 5}, 1), b = random(*device, {3, 5, 6}, 2);
    autograd::set_requires_grad(a);
    autograd::set_requires_grad(b);
    const Tensor y = ellipsis ? ops::einsum_named("... row mid, ... mid column -> ... column row", {a, b})
                              : ops::einsum("nbij,bjk->nbki", {a, b});
    EXPECT_EQ(y.shape(), (Shape{2, 3, 6, 4}));
    autograd::backward({y}, {random(*device, y.shape(), 3)});
    grads[ellipsis][0] = to_doubles(autograd::grad_of(a));
    grads[ellipsis][1] = to_doubles(autograd::grad_of(b));
  }
  for (const int k : {0, 1}) EXPECT_LE(relative_error(grads[1][k], grads[0][k]), 1e-13) << "operand " << k;
}

TEST(EinsumEquation, MistakesAreNamed) {
  auto device = make_device(DeviceKind::cpu);
  const Tensor a = random(*device, {2, 3}, 1), b = random(*device, {4, 5}, 2);
  const auto message = [&](std::string_view equation, std::initializer_list<Tensor> t) -> std::string {
    try {
      ops::einsum(equation, t);
    } catch (const Error& e) {
      return e.what();
    }
    return "accepted";
  };
  EXPECT_NE(message("ij,jk->ik", {a, b}).find("'j' is 4 in operand 1"), std::string::npos);
  EXPECT_THROW(ops::einsum_named("row mid, mid column", {a, b}), Error);  // lacks "->"
  EXPECT_NE(message("ij->ik", {a}).find("'k' is in no operand"), std::string::npos);
  EXPECT_NE(message("ij->ii", {a}).find("names 'i' twice"), std::string::npos);
  EXPECT_NE(message("ijk->i", {a}).find("has 3 labels"), std::string::npos);
  EXPECT_NE(message("ij,jk->ik", {a}).find("names 2 operands, got 1"), std::string::npos);
  EXPECT_NE(message("..i->i", {a}).find("'.' is no label"), std::string::npos);
  EXPECT_NE(message("...i...->i", {a}).find("'...' stands twice"), std::string::npos);
  EXPECT_NE(message("ij->......", {a}).find("'...' stands twice"), std::string::npos);
  EXPECT_NE(message("...ijk->i", {a}).find("has 3 labels beside '...'"), std::string::npos);
  EXPECT_NE(message("...i,...j->...ij", {a, b}).find("is 4 in operand 1"), std::string::npos);
  EXPECT_NE(message("i1->i", {a}).find("'1' is no label"), std::string::npos);
}

}  // namespace
}  // namespace reckon::testing
