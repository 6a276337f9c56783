// Arithmetic and functions of single elements.
#include "ops/activation/activation.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "tests/differential/generator.h"

namespace reckon::differential {
namespace {

template <Tensor (*F)(const Tensor&)>
TensorList one(const Call& c) {
  return {F(c[0])};
}

template <Tensor (*F)(const Tensor&, const Tensor&)>
TensorList two(const Call& c) {
  return {F(c[0], c[1])};
}

// The second operand of a broadcast: something there already that fits, or a new leaf.
std::string partner(Generator& g, const std::string& a, const char* kind) {
  if (kind == std::string("signed") && g.chance(0.4)) {
    const std::string b = g.pick({.most = 16});
    try {
      if (numel(broadcast_shapes(g.shape_of(a), g.shape_of(b))) <= 600) return b;
    } catch (const Error&) {  // they do not broadcast
    }
  }
  return g.leaf(g.broadcastable_to(g.shape_of(a)), {.kind = kind});
}

bool make_sum(Generator& g, const char* word) {
  std::string a = g.pick({}), b = partner(g, a, "signed");
  if (g.chance(0.3)) std::swap(a, b);
  return g.add({.word = word, .ins = {a, b}}, g.bound(a) + g.bound(b));
}

bool make_mul(Generator& g) {
  std::string a = g.pick({.most = 16}), b = partner(g, a, "signed");
  if (g.chance(0.3)) std::swap(a, b);
  return g.add({.word = "mul", .ins = {a, b}}, g.bound(a) * g.bound(b));
}

bool make_div(Generator& g) {
  const std::string a = g.pick({.most = 16}), b = partner(g, a, "positive");
  return g.add({.word = "div", .ins = {a, b}}, 2 * g.bound(a));
}

bool make_affine(Generator& g) {
  const std::string a = g.pick({});
  Statement s{.word = "affine", .ins = {a}};
  s.set("scale", g.number(-2, 2)).set("shift", g.number(-1, 1));
  return g.add(std::move(s), 2 * g.bound(a) + 1);
}

bool make_scale(Generator& g) {
  const std::string a = g.pick({});
  Statement s{.word = "scale", .ins = {a}};
  s.set("factor", g.number(-2, 2));
  return g.add(std::move(s), 2 * g.bound(a));
}

// Functions whose values are no larger than their inputs', and those bounded by one.
template <const char* const& Word>
bool make_keeping(Generator& g) {
  const std::string a = g.pick({});
  return g.add({.word = Word, .ins = {a}}, g.bound(a));
}
// programs/large_gelu_tanh.txt has larger ones.
bool make_gelu_tanh(Generator& g) {
  const std::string a = g.pick({.most = 16});
  return g.add({.word = "gelu_tanh", .ins = {a}}, g.bound(a));
}
template <const char* const& Word>
bool make_bounded(Generator& g) {
  return g.add({.word = Word, .ins = {g.pick({})}}, 1);
}

bool make_exp(Generator& g) {
  const std::string a = g.pick({.most = 3});
  return g.add({.word = "exp", .ins = {a}}, 20);
}

// Of something positive: 0.25 to 1.25.
std::string positive(Generator& g) {
  const std::string s = g.emit({.word = "sigmoid", .ins = {g.pick({})}}, 1);
  Statement shifted{.word = "affine", .ins = {s}};
  shifted.set("scale", 1).set("shift", 0.25);
  return s.empty() ? s : g.emit(std::move(shifted), 1.25);
}
bool make_log(Generator& g) {
  const std::string a = positive(g);
  return !a.empty() && g.add({.word = "log", .ins = {a}}, 1.5);
}
bool make_sqrt(Generator& g) {
  const std::string a = positive(g);
  return !a.empty() && g.add({.word = "sqrt", .ins = {a}}, 1.2);
}

constexpr const char *kRelu = "relu", *kSigmoid = "sigmoid", *kTanh = "tanh", *kSilu = "silu", *kGelu = "gelu",
                     *kAbs = "abs", *kCos = "cos", *kContiguous = "contiguous", *kCopy = "copy";

}  // namespace

std::vector<Operation> elementwise_operations() {
  return {
      {"add", two<ops::add>, [](Generator& g) { return make_sum(g, "add"); }, nullptr, false, 5},
      {"sub", two<ops::sub>, [](Generator& g) { return make_sum(g, "sub"); }},
      {"mul", two<ops::mul>, make_mul, nullptr, false, 5},
      {"div", two<ops::div>, make_div},
      {"affine",
       [](const Call& c) { return TensorList{ops::affine(c[0], c.s.number("scale"), c.s.number("shift"))}; },
       make_affine},
      {"scale", [](const Call& c) { return TensorList{ops::scale(c[0], c.s.number("factor"))}; }, make_scale},
      {"relu", one<ops::relu>, make_keeping<kRelu>},
      {"sigmoid", one<ops::sigmoid>, make_bounded<kSigmoid>},
      {"tanh", one<ops::tanh>, make_bounded<kTanh>},
      {"silu", one<ops::silu>, make_keeping<kSilu>},
      {"gelu", one<ops::gelu>, make_keeping<kGelu>},
      {"gelu_tanh", one<ops::gelu_tanh>, make_gelu_tanh},
      {"abs", one<ops::abs>, make_keeping<kAbs>},
      {"cos", one<ops::cos>, make_bounded<kCos>},
      {"exp", one<ops::exp>, make_exp},
      {"log", one<ops::log>, make_log},
      {"sqrt", one<ops::sqrt>, make_sqrt},
      {"contiguous", one<ops::contiguous>, make_keeping<kContiguous>},
      {"copy", one<ops::copy>, make_keeping<kCopy>},
  };
}

}  // namespace reckon::differential
