// Views, and ops that only move elements.
#include "ops/concat/concat.h"
#include "ops/diagonal/diagonal.h"
#include "ops/view/view.h"
#include "tests/differential/generator.h"

namespace reckon::differential {
namespace {

int integer(const Call& c, std::string_view key) { return static_cast<int>(c.s.integer(key)); }

// A new tensor is as large as the one it comes from.
bool add_like(Generator& g, Statement s, int n_outs = 1) {
  const double bound = g.bound(s.ins[0]);
  return g.add(std::move(s), bound, n_outs);
}

int some_axis(Generator& g, const std::string& a) { return g.between(0, g.shape_of(a).rank() - 1); }

bool make_permute(Generator& g) {
  const std::string a = g.pick({.least_rank = 1});
  Dims axes;
  for (int i = 0; i < g.shape_of(a).rank(); ++i) axes.push_back(i);
  for (int i = axes.rank() - 1; i > 0; --i) std::swap(axes[i], axes[g.between(0, i)]);
  return add_like(g, Statement{.word = "permute", .ins = {a}}.set("axes", axes));
}

bool make_transpose(Generator& g) {
  const std::string a = g.pick({.least_rank = 2});
  Statement s{.word = "transpose", .ins = {a}};
  s.set("a", some_axis(g, a)).set("b", some_axis(g, a) - g.shape_of(a).rank());
  return add_like(g, std::move(s));
}

bool make_reshape(Generator& g) {
  const std::string a = g.pick({.most_rank = 5, .elements = true});
  Dims shape;
  int64_t left = numel(g.shape_of(a));
  while (left > 1 && shape.rank() < 4) {
    int64_t d = g.between(1, static_cast<int>(left));
    while (left % d != 0) --d;
    shape.push_back(d);
    left /= d;
  }
  if (left > 1) shape.push_back(left);
  if (shape.rank() > 0 && g.chance(0.2)) shape[g.between(0, shape.rank() - 1)] = -1;
  return add_like(g, Statement{.word = "reshape", .ins = {a}}.set("shape", shape));
}

bool make_expand(Generator& g) {
  const std::string a = g.pick({});
  Dims shape;
  if (g.chance(0.4)) shape.push_back(g.between(1, 3));
  for (int64_t d : g.shape_of(a)) shape.push_back(d == 1 && g.chance(0.7) ? g.between(2, 4) : d);
  if (numel(shape) > 600) return false;
  return add_like(g, Statement{.word = "expand", .ins = {a}}.set("shape", shape));
}

bool make_slice(Generator& g) {
  const std::string a = g.pick({.least_rank = 1, .elements = true});
  const int axis = some_axis(g, a), n = static_cast<int>(g.shape_of(a)[axis]), first = g.between(0, n - 1);
  Statement s{.word = "slice", .ins = {a}};
  s.set("axis", axis).set("first", first).set("last", g.between(first + 1, n));
  return add_like(g, std::move(s));
}

bool make_unsqueeze(Generator& g) {
  const std::string a = g.pick({.most_rank = 3});
  const int rank = g.shape_of(a).rank();
  return add_like(g, Statement{.word = "unsqueeze", .ins = {a}}.set("axis", g.between(-rank - 1, rank)));
}

bool make_squeeze(Generator& g) {
  const auto has_one = [](const Shape& s) {
    for (int64_t d : s)
      if (d == 1) return true;
    return false;
  };
  const std::string a = g.pick({.least_rank = 1, .fits = has_one});
  if (a.empty()) return false;
  int axis = 0;
  while (g.shape_of(a)[axis] != 1) ++axis;
  return add_like(g, Statement{.word = "squeeze", .ins = {a}}.set("axis", axis));
}

bool make_split(Generator& g) {
  const std::string a = g.pick({.least_rank = 1, .elements = true});
  const int axis = some_axis(g, a);
  int n = g.between(1, 4);
  while (g.shape_of(a)[axis] % n != 0) --n;
  Statement s{.word = "split", .ins = {a}};
  s.set("axis", axis).set("n", n);
  return add_like(g, std::move(s), n);
}

bool make_pad(Generator& g) {
  const std::string a = g.pick({.least_rank = 1});
  const int axis = some_axis(g, a), first = g.between(0, 3);
  Statement s{.word = "pad_with_zeros", .ins = {a}};
  s.set("axis", axis).set("first", first).set("extent", first + g.shape_of(a)[axis] + g.between(0, 3));
  return add_like(g, std::move(s));
}

bool make_diagonal(Generator& g) {
  const int64_t n = g.extent();
  Shape shape = g.shape(0, 2, 40);
  Dims both;
  const int first = g.between(0, shape.rank()), second = g.between(first + 1, shape.rank() + 1);
  for (int i = 0, from = 0; i < shape.rank() + 2; ++i)
    both.push_back(i == first || i == second ? n : shape[from++]);
  Statement s{.word = "diagonal", .ins = {g.leaf(both)}};
  s.set("first", first).set("second", second);
  return add_like(g, std::move(s));
}

bool make_concat(Generator& g) {
  const std::string a = g.pick({.least_rank = 1});
  const int axis = some_axis(g, a), rank = g.shape_of(a).rank();
  Statement s{.word = "concat", .ins = {a}};
  double bound = g.bound(a);
  for (int n = g.between(1, 3); n > 0; --n) {
    Shape shape = g.shape_of(a);
    shape[axis] = g.extent();
    s.ins.push_back(g.chance(0.3) ? a : g.leaf(shape));
    bound = std::max(bound, g.bound(s.ins.back()));
  }
  if (g.chance(0.5)) std::swap(s.ins[0], s.ins.back());
  s.set("axis", g.chance(0.3) ? axis - rank : axis);
  return g.add(std::move(s), bound);
}

}  // namespace

std::vector<Operation> view_operations() {
  return {
      {"permute", [](const Call& c) { return TensorList{ops::permute(c[0], c.s.dims("axes"))}; }, make_permute},
      {"transpose",
       [](const Call& c) { return TensorList{ops::transpose(c[0], integer(c, "a"), integer(c, "b"))}; },
       make_transpose},
      {"reshape", [](const Call& c) { return TensorList{ops::reshape(c[0], c.s.dims("shape"))}; },
       make_reshape},
      {"expand", [](const Call& c) { return TensorList{ops::expand(c[0], c.s.dims("shape"))}; }, make_expand},
      {"slice",
       [](const Call& c) {
         return TensorList{ops::slice(c[0], integer(c, "axis"), c.s.integer("first"), c.s.integer("last"))};
       },
       make_slice},
      {"unsqueeze", [](const Call& c) { return TensorList{ops::unsqueeze(c[0], integer(c, "axis"))}; },
       make_unsqueeze},
      {"squeeze", [](const Call& c) { return TensorList{ops::squeeze(c[0], integer(c, "axis"))}; },
       make_squeeze},
      {"split", [](const Call& c) { return ops::split(c[0], integer(c, "axis"), integer(c, "n")); },
       make_split},
      {"pad_with_zeros",
       [](const Call& c) {
         return TensorList{
             ops::pad_with_zeros(c[0], integer(c, "axis"), c.s.integer("first"), c.s.integer("extent"))};
       },
       make_pad},
      {"diagonal",
       [](const Call& c) { return TensorList{ops::diagonal(c[0], integer(c, "first"), integer(c, "second"))}; },
       make_diagonal},
      {"concat", [](const Call& c) { return TensorList{ops::concat(c.in, integer(c, "axis"))}; }, make_concat},
  };
}

}  // namespace reckon::differential
