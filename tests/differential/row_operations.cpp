// Norms, losses, dropout, gates, and ops that read by index.
#include "autograd/grad_mode.h"
#include "ops/cross_entropy/cross_entropy.h"
#include "ops/dropout/dropout.h"
#include "ops/embedding/embedding.h"
#include "ops/geglu/geglu.h"
#include "ops/index_select/index_select.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/linear_cross_entropy/linear_cross_entropy.h"
#include "ops/masked_fill/masked_fill.h"
#include "ops/mse_loss/mse_loss.h"
#include "ops/mul_sigmoid/mul_sigmoid.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/rope/rope.h"
#include "ops/swiglu/swiglu.h"
#include "tests/differential/generator.h"

namespace reckon::differential {
namespace {

ops::Reduction reduction_of(const Call& c) {
  const std::string name = c.s.text("reduction", "mean");
  return name == "none" ? ops::Reduction::none : name == "sum" ? ops::Reduction::sum : ops::Reduction::mean;
}

double eps_of(const Call& c) { return c.s.number("eps", 1e-5); }

// A row to normalise has more than two elements: of two, a layer norm leaves nothing but signs.
bool has_long_rows(const Shape& s) { return s.rank() > 0 && s.back() > 2; }

bool make_layer_norm(Generator& g) {
  const std::string x = g.pick({.least_rank = 1, .fits = has_long_rows});
  if (x.empty()) return false;
  const int64_t c = g.shape_of(x).back();
  const bool dense = g.dense_parameters();
  Statement s{
      .word = "layer_norm",
      .ins = {x, g.maybe_leaf({c}, {.kind = "positive", .dense = dense}), g.maybe_leaf({c}, {.dense = dense})}};
  return g.add(std::move(s.set("eps", g.one_of({1e-5, 1e-3}))), 10);
}

bool make_rms_norm(Generator& g) {
  const std::string x = g.pick({.least_rank = 1, .elements = true});
  const int64_t c = g.shape_of(x).back();
  Statement s{.word = "rms_norm", .ins = {x, g.leaf({c}, {.kind = "positive", .dense = g.dense_parameters()})}};
  return g.add(std::move(s.set("eps", g.one_of({1e-5, 1e-3}))), 8);
}

bool make_cross_entropy(Generator& g) {
  const std::string x = g.pick({.least_rank = 1, .elements = true});
  const Shape& shape = g.shape_of(x);
  const int64_t classes = shape.back(), rows = numel(shape) / classes;
  const int64_t ignored = g.one_of<int64_t>({-100, -1, 0, classes + 3});
  Statement s{.word = "cross_entropy", .ins = {x}};
  const std::string kind = rows > 4 && classes > 1 ? fmt::format("target:{}:{}", classes, ignored)
                                                   : fmt::format("index:{}", classes);
  s.ins.push_back(g.leaf(shape.slice(0, shape.rank() - 1), {.kind = kind}));
  s.set("reduction", g.one_of<std::string>({"none", "sum", "mean"}));
  s.set("ignored", rows > 4 && classes > 1 ? ignored : -100);
  return g.add(std::move(s), 300);
}

bool make_linear_cross_entropy(Generator& g) {
  const std::string x = g.pick({.least_rank = 2, .most_rank = 2, .elements = true, .most = 16});
  const int64_t rows = g.shape_of(x)[0], width = g.shape_of(x)[1], classes = g.between(1, 9);
  Statement s{.word = "linear_cross_entropy", .ins = {x}};
  s.ins.push_back(g.leaf({classes, width}, {.scale = 0.25, .dense = g.dense_parameters()}));
  s.ins.push_back(g.leaf(
      {rows}, {.kind = rows > 4 ? fmt::format("target:{}:-100", classes) : fmt::format("index:{}", classes)}));
  return g.add(std::move(s.set("reduction", g.one_of<std::string>({"sum", "mean"}))), 300);
}

bool make_mse_loss(Generator& g) {
  const std::string x = g.pick({.elements = true, .most = 8}), y = g.same_shape(x);
  Statement s{.word = "mse_loss", .ins = {x, y}};
  if (g.chance(0.3)) std::swap(s.ins[0], s.ins[1]);
  return g.add(std::move(s.set("reduction", g.one_of<std::string>({"none", "sum", "mean"}))), 300);
}

void set_dropout(Generator& g, Statement& s) {
  Dims shared;
  for (int a = 0; a < g.shape_of(s.ins.back()).rank(); ++a)
    if (g.chance(0.25)) shared.push_back(a);
  s.set("p", g.one_of({0.0, 0.125, 0.25, 0.5})).set("shared", shared);
  if (g.chance(0.5)) s.set("key", g.below(uint64_t{1} << 60)).set("stream", g.below(uint64_t{1} << 60));
}

// A key that is written down, or the next of the thread's generator, as a layer takes it.
ops::DropoutKey key_of(const Call& c) {
  if (c.s.find("key")) return {c.s.natural("key"), c.s.natural("stream")};
  autograd::Generator& generator = autograd::grad_state().generator;
  return {generator.seed, generator.next_stream++};
}

bool make_dropout(Generator& g) {
  Statement s{.word = "dropout", .ins = {g.pick({.most = 32})}};
  set_dropout(g, s);
  return g.add(s, 2 * g.bound(s.ins[0]));
}

bool make_dropout_add(Generator& g) {
  const std::string x = g.pick({.most = 32});
  Statement s{.word = "dropout_add", .ins = {g.same_shape(x), x}};
  set_dropout(g, s);
  return g.add(s, 2 * g.bound(x) + g.bound(s.ins[0]));
}

bool make_gate(Generator& g, const char* word) {
  const std::string x = g.pick({.most = 16}), y = g.same_shape(x);
  return g.add({.word = word, .ins = {x, y}}, g.bound(x) * g.bound(y));
}

bool make_masked_fill(Generator& g) {
  const std::string x = g.pick({});
  const bool bytes = g.chance(0.5);
  const std::string mask =
      g.leaf(g.broadcastable_to(g.shape_of(x)), {.kind = "mask", .type = bytes ? "u8" : "", .constant = true});
  Statement s{.word = "masked_fill", .ins = {x, mask}};
  s.set("value", g.one_of({0.0, -1.5, 64.0}));
  return g.add(std::move(s), 64);
}

bool make_embedding(Generator& g) {
  const int64_t rows = g.between(1, 9), width = g.between(1, 8);
  const std::string ids = g.leaf(g.shape(0, 3, 24), {.kind = fmt::format("index:{}", rows)});
  return g.add({.word = "embedding", .ins = {ids, g.leaf({rows, width}, {.dense = g.dense_parameters()})}}, 2);
}

bool make_index_select(Generator& g) {
  const std::string x = g.pick({.least_rank = 1, .most_rank = 3, .elements = true});
  const int rank = g.shape_of(x).rank(), axis = g.between(0, rank - 1);
  const std::string ids = g.leaf(g.shape(1, 2, 12), {.kind = fmt::format("index:{}", g.shape_of(x)[axis])});
  Statement s{.word = "index_select", .ins = {x, ids}};
  return g.add(std::move(s.set("axis", g.chance(0.3) ? axis - rank : axis)), g.bound(x));
}

bool make_scatter_add(Generator& g) {
  const std::string x = g.pick({.least_rank = 1, .most_rank = 3, .elements = true, .most = 16});
  const Shape& shape = g.shape_of(x);
  const int axis = g.between(0, shape.rank() - 1);
  const Shape ids = g.shape(1, 2, 12);
  Shape source = shape.slice(0, axis);
  for (int64_t d : ids) source.push_back(d);
  for (int a = axis + 1; a < shape.rank(); ++a) source.push_back(shape[a]);
  if (numel(source) > 600) return false;
  Statement s{.word = "scatter_add",
              .ins = {x, g.leaf(ids, {.kind = fmt::format("index:{}", shape[axis])}), g.leaf(source)}};
  return g.add(std::move(s.set("axis", axis)), g.bound(x) + 24);
}

bool make_one_hot(Generator& g) {
  const int classes = g.between(1, 8);
  Statement s{.word = "one_hot",
              .ins = {g.leaf(g.shape(0, 3, 24), {.kind = fmt::format("index:{}", classes)})}};
  return g.add(std::move(s.set("classes", classes).set("type", g.type())), 1);
}

bool make_rope(Generator& g) {
  const auto fits = [](const Shape& s) { return s.rank() == 4 && s[3] % 2 == 0 && s[3] > 0 && numel(s) > 0; };
  std::string x = g.chance(0.5) ? g.pick({.least_rank = 4, .fits = fits}) : "";
  if (x.empty()) x = g.leaf({g.between(1, 2), g.between(1, 5), g.between(1, 3), 2 * g.between(1, 4)});
  const Shape& shape = g.shape_of(x);
  const Shape positions = g.chance(0.5) ? Shape{shape[1]} : Shape{shape[0], shape[1]};
  Statement s{.word = "rope", .ins = {x, g.leaf(positions, {.kind = "index:40"})}};
  return g.add(std::move(s.set("theta", g.one_of({10000.0, 100.0}))), 2 * g.bound(x));
}

int axis_of(const Call& c) { return static_cast<int>(c.s.integer("axis")); }

std::vector<Operation> losses_and_norms() {
  return {
      {"layer_norm", [](const Call& c) { return TensorList{ops::layer_norm(c[0], c[1], c[2], eps_of(c))}; },
       make_layer_norm},
      {"rms_norm", [](const Call& c) { return TensorList{ops::rms_norm(c[0], c[1], eps_of(c))}; },
       make_rms_norm},
      {"cross_entropy",
       [](const Call& c) {
         return TensorList{ops::cross_entropy(c[0], c[1], reduction_of(c), c.s.integer("ignored", -100))};
       },
       make_cross_entropy},
      {"linear_cross_entropy",
       [](const Call& c) { return TensorList{ops::linear_cross_entropy(c[0], c[1], c[2], reduction_of(c))}; },
       make_linear_cross_entropy},
      {"mse_loss", [](const Call& c) { return TensorList{ops::mse_loss(c[0], c[1], reduction_of(c))}; },
       make_mse_loss},
      {"dropout",
       [](const Call& c) {
         return TensorList{ops::dropout(c[0], c.s.number("p"), key_of(c), c.s.dims("shared"))};
       },
       make_dropout},
      {"dropout_add",
       [](const Call& c) {
         return TensorList{ops::dropout_add(c[0], c[1], c.s.number("p"), key_of(c), c.s.dims("shared"))};
       },
       make_dropout_add},
  };
}

}  // namespace

std::vector<Operation> row_operations() {
  std::vector<Operation> all = losses_and_norms();
  const std::vector<Operation> rest = {
      {"swiglu", [](const Call& c) { return TensorList{ops::swiglu(c[0], c[1])}; },
       [](Generator& g) { return make_gate(g, "swiglu"); }},
      {"geglu", [](const Call& c) { return TensorList{ops::geglu(c[0], c[1])}; },
       [](Generator& g) { return make_gate(g, "geglu"); }},
      {"mul_sigmoid", [](const Call& c) { return TensorList{ops::mul_sigmoid(c[0], c[1])}; },
       [](Generator& g) { return make_gate(g, "mul_sigmoid"); }},
      {"masked_fill",
       [](const Call& c) { return TensorList{ops::masked_fill(c[0], c[1], c.s.number("value"))}; },
       make_masked_fill},
      {"embedding", [](const Call& c) { return TensorList{ops::embedding(c[0], c[1])}; }, make_embedding},
      {"index_select", [](const Call& c) { return TensorList{ops::index_select(c[0], axis_of(c), c[1])}; },
       make_index_select},
      {"scatter_add", [](const Call& c) { return TensorList{ops::scatter_add(c[0], axis_of(c), c[1], c[2])}; },
       make_scatter_add},
      {.word = "one_hot",
       .call =
           [](const Call& c) { return TensorList{ops::one_hot(c[0], c.s.integer("classes"), c.type("type"))}; },
       .make = make_one_hot,
       .constant = true,
       .weight = 1},
      {"rope", [](const Call& c) { return TensorList{ops::rope(c[0], c[1], c.s.number("theta"))}; }, make_rope},
  };
  all.insert(all.end(), rest.begin(), rest.end());
  return all;
}

}  // namespace reckon::differential
