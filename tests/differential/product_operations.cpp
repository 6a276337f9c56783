// Matrix products and what is made of them.
#include "ops/linear/linear.h"
#include "ops/matmul/matmul.h"
#include "tests/differential/generator.h"

namespace reckon::differential {
namespace {

// A power of two near 1 / sqrt(n): sums of n products stay as large as what is multiplied.
double weight_scale(int64_t n) { return n > 32 ? 0.125 : n > 8 ? 0.25 : n > 2 ? 0.5 : 1; }

bool make_matmul(Generator& g) {
  const std::string a = g.pick({.least_rank = 2, .most = 16});
  const Shape& shape = g.shape_of(a);
  const int64_t k = shape[shape.rank() - 1];
  Shape other = g.broadcastable_to(shape.slice(0, shape.rank() - 2));
  other.push_back(k);
  other.push_back(g.extent());
  const std::string b = g.leaf(other, {.scale = weight_scale(k)});
  return g.add({.word = "matmul", .ins = {a, b}}, static_cast<double>(k) * g.bound(a) * g.bound(b));
}

bool make_linear(Generator& g) {
  const std::string x = g.pick({.least_rank = 1, .most = 16});
  const int64_t k = g.shape_of(x).back(), n = g.extent();
  const bool dense = g.dense_parameters();
  const std::string w = g.leaf({n, k}, {.scale = weight_scale(k), .dense = dense});
  const std::string b = g.maybe_leaf({n}, {.dense = dense});
  return g.add({.word = "linear", .ins = {x, w, b}}, static_cast<double>(k) * g.bound(x) * g.bound(w) + 2);
}

// The product in a type of its own, such as f32 of bf16 operands.
bool make_matmul_as(Generator& g) {
  const std::string a = g.pick({.least_rank = 2, .most_rank = 3, .most = 16});
  const int64_t k = g.shape_of(a).back();
  const std::string b = g.leaf({k, g.extent()}, {.scale = weight_scale(k), .type = g.type_of(a)});
  Statement s{.word = "matmul_as", .ins = {a, b}};
  return g.add(std::move(s.set("type", g.type_of(a) == "f64" ? "f64" : std::string("f32"))),
               static_cast<double>(k) * g.bound(a) * g.bound(b));
}

}  // namespace

std::vector<Operation> product_operations() {
  return {
      {"matmul_as", [](const Call& c) { return TensorList{ops::matmul(c[0], c[1], c.type("type"))}; },
       make_matmul_as},
      {"matmul", [](const Call& c) { return TensorList{ops::matmul(c[0], c[1])}; }, make_matmul, nullptr, false,
       4},
      {"linear", [](const Call& c) { return TensorList{ops::linear(c[0], c[1], c[2])}; }, make_linear, nullptr,
       false, 4},
  };
}

}  // namespace reckon::differential
