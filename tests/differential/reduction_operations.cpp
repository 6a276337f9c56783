// Sums, means and functions of whole rows.
#include "ops/mean_var/mean_var.h"
#include "ops/softmax/softmax.h"
#include "ops/sum/sum.h"
#include "tests/differential/generator.h"

namespace reckon::differential {
namespace {

bool keeps(const Call& c) { return c.s.integer("keep") != 0; }

// Some axes, counted from either end, and how many elements are summed into one.
Dims some_axes(Generator& g, const Shape& shape, int64_t* n) {
  Dims axes;
  *n = 1;
  for (int a = 0; a < shape.rank(); ++a) {
    if (!g.chance(0.5)) continue;
    axes.push_back(a);
    *n *= shape[a];
  }
  if (axes.rank() == 0 && shape.rank() > 0) {
    axes.push_back(shape.rank() - 1);
    *n = shape[shape.rank() - 1];
  }
  return axes;
}

bool make_sum(Generator& g) {
  const std::string a = g.pick({.least_rank = 1, .most = 16});
  int64_t n = 1;
  Statement s{.word = "sum", .ins = {a}};
  s.set("axes", some_axes(g, g.shape_of(a), &n)).set("keep", g.between(0, 1));
  return g.add(std::move(s), static_cast<double>(n) * g.bound(a));
}

bool make_mean(Generator& g) {
  const std::string a = g.pick({.least_rank = 1, .elements = true});
  int64_t n = 1;
  Statement s{.word = "mean", .ins = {a}};
  s.set("axes", some_axes(g, g.shape_of(a), &n)).set("keep", g.between(0, 1));
  return g.add(std::move(s), g.bound(a));
}

bool make_mean_var(Generator& g) {
  const std::string a = g.pick({.least_rank = 1, .elements = true, .most = 8});
  int64_t n = 1;
  Statement s{.word = "mean_var", .ins = {a}};
  s.set("axes", some_axes(g, g.shape_of(a), &n)).set("keep", g.between(0, 1));
  if (n < 2) return false;
  s.set("unbiased", g.between(0, 1));
  return g.add(std::move(s), g.bound(a) * g.bound(a), 2);
}

bool make_sum_all(Generator& g) {
  const std::string a = g.pick({.most = 4});
  return g.add({.word = "sum_all", .ins = {a}}, 300 * g.bound(a));
}

bool make_row(Generator& g, const char* word, double bound) {
  const std::string a = g.pick({.least_rank = 1, .elements = true});
  const int rank = g.shape_of(a).rank();
  Statement s{.word = word, .ins = {a}};
  s.set("axis", g.chance(0.5) ? -1 : g.between(-rank, rank - 1));
  return g.add(std::move(s), bound < 0 ? 2 * g.bound(a) + 6 : bound);
}

int axis_of(const Call& c) { return static_cast<int>(c.s.integer("axis", -1)); }

}  // namespace

std::vector<Operation> reduction_operations() {
  return {
      {"sum", [](const Call& c) { return TensorList{ops::sum(c[0], c.s.dims("axes"), keeps(c))}; }, make_sum,
       nullptr, false, 4},
      {"sum_wide", [](const Call& c) { return TensorList{ops::sum_wide(c[0], c.s.dims("axes"))}; },
       [](Generator& g) {
         const std::string a = g.pick({.least_rank = 1, .most = 8});
         int64_t n = 1;
         const Dims axes = some_axes(g, g.shape_of(a), &n);
         return g.add(Statement{.word = "sum_wide", .ins = {a}}.set("axes", axes),
                      static_cast<double>(n) * g.bound(a));
       }},
      {"sum_all", [](const Call& c) { return TensorList{ops::sum_all(c[0])}; }, make_sum_all},
      {"mean", [](const Call& c) { return TensorList{ops::mean(c[0], c.s.dims("axes"), keeps(c))}; },
       make_mean},
      {"mean_var",
       [](const Call& c) {
         const auto m = ops::mean_var(c[0], c.s.dims("axes"), c.s.integer("unbiased") != 0, keeps(c));
         return TensorList{m.mean, m.var};
       },
       make_mean_var},
      {"softmax", [](const Call& c) { return TensorList{ops::softmax(c[0], axis_of(c))}; },
       [](Generator& g) { return make_row(g, "softmax", 1); }},
      {"log_softmax", [](const Call& c) { return TensorList{ops::log_softmax(c[0], axis_of(c))}; },
       [](Generator& g) { return make_row(g, "log_softmax", -1); }},
      {"logsumexp", [](const Call& c) { return TensorList{ops::logsumexp(c[0], axis_of(c))}; },
       [](Generator& g) { return make_row(g, "logsumexp", -1); }},
  };
}

}  // namespace reckon::differential
