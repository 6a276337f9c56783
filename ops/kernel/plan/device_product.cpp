#include "ops/kernel/plan/device_product.h"

#include <algorithm>

#include "runtime/core/error.h"

namespace reckon::ops::gpu {
namespace {

enum class Copy : uint8_t {
  none,
  distinct,  // over the axes of the batch along which the operand differs
  whole,     // over all of them, so that the copy steps as one
};

// A matrix and its steps over the axes of the batch.
struct Operand {
  int64_t rows, cols;
  GemmOperand matrix;
  int64_t steps[GemmBatch::kMaxRank];
};

// Whether the copy's columns are dense: whichever axis lies closer together in the source stays innermost.
bool copied_by_column(const GemmOperand& m) {
  return m.row_stride == 1 || (m.col_stride != 1 && m.row_stride != 0 && m.row_stride < m.col_stride);
}

ProductSteps::Packed packed(const Operand& o, const GemmBatch& batch, Copy copy, DType type) {
  if (copy == Copy::none) return {};
  ProductSteps::Packed p{.packs = true, .type = type, .axes = {}};
  for (int d = 0; d < batch.rank; ++d)
    if (copy == Copy::whole || o.steps[d] != 0) p.axes.add(batch.size[d], o.steps[d]);
  const bool by_column = copied_by_column(o.matrix);
  if (by_column) p.axes.add(o.cols, o.matrix.col_stride);
  p.axes.add(o.rows, o.matrix.row_stride);
  if (!by_column) p.axes.add(o.cols, o.matrix.col_stride);
  return p;
}

// What the library sees of the operand.
Operand after(Operand o, const GemmBatch& batch, Copy copy, DType type) {
  if (copy == Copy::none) return o;
  const bool by_column = copied_by_column(o.matrix);
  o.matrix.dtype = type;
  o.matrix.row_stride = by_column ? 1 : o.cols;
  o.matrix.col_stride = by_column ? o.rows : 1;
  int64_t step = o.rows * o.cols;
  for (int d = batch.rank - 1; d >= 0; --d) {
    const bool copied = copy == Copy::whole || o.steps[d] != 0;
    o.steps[d] = copied ? step : 0;
    if (copied) step *= batch.size[d];
  }
  return o;
}

bool steps_as_one(const GemmBatch& batch, const int64_t* steps) {
  for (int d = 0; d + 1 < batch.rank; ++d)
    if (steps[d] != steps[d + 1] * batch.size[d + 1]) return false;
  return true;
}

// Without axes of one step, and with neighbours merged where all three operands step as one.
GemmBatch merged(const GemmBatch& batch) {
  GemmBatch g;
  for (int d = 0; d < batch.rank; ++d) {
    const int64_t n = batch.size[d];
    if (n == 1) continue;
    const int last = g.rank - 1;
    const bool joins = last >= 0 && g.a_stride[last] == batch.a_stride[d] * n &&
                       g.b_stride[last] == batch.b_stride[d] * n && g.c_stride[last] == batch.c_stride[d] * n;
    const int at = joins ? last : g.rank++;
    g.size[at] = joins ? g.size[at] * n : n;
    g.a_stride[at] = batch.a_stride[d];
    g.b_stride[at] = batch.b_stride[d];
    g.c_stride[at] = batch.c_stride[d];
  }
  return g;
}

// Products that share b are one with more rows, where a and c lie so.
void fold_into_rows(GemmProblem& p, GemmBatch& g) {
  for (; g.rank > 0; --g.rank) {
    const int last = g.rank - 1;
    const int64_t a_row = p.m == 1 ? g.a_stride[last] : p.a.row_stride,
                  c_row = p.m == 1 ? g.c_stride[last] : p.c_row_stride;
    if (g.b_stride[last] != 0 || p.a.col_stride != 1 || p.c_col_stride != 1 || a_row < p.k || c_row < p.n ||
        g.a_stride[last] != a_row * p.m || g.c_stride[last] != c_row * p.m)
      return;
    p.m *= g.size[last];
    p.a.row_stride = a_row;
    p.c_row_stride = c_row;
  }
}

}  // namespace

size_t ProductSteps::Packed::bytes() const {
  return std::max<size_t>(static_cast<size_t>(axes.count()) * size_of(type), 64);
}

ProductSteps product_steps(const GemmProblem& problem, const GemmBatch& batch) {
  const DType type = problem.a.dtype == problem.b.dtype ? problem.a.dtype : DType::f32;
  const auto operand = [&](int64_t rows, int64_t cols, const GemmOperand& m, const int64_t* steps) {
    Operand o{rows, cols, m, {}};
    std::copy_n(steps, GemmBatch::kMaxRank, o.steps);
    return o;
  };
  const Operand a = operand(problem.m, problem.k, problem.a, batch.a_stride),
                b = operand(problem.k, problem.n, problem.b, batch.b_stride);
  const auto copy_of = [&](const Operand& o) {
    const bool taken =
        o.matrix.dtype == type && has_unit_stride(o.rows, o.cols, o.matrix.row_stride, o.matrix.col_stride);
    return taken ? Copy::none : Copy::distinct;
  };
  Copy copy_a = copy_of(a), copy_b = copy_of(b);

  // What the library would see: the first product, and the axes left.
  struct Seen {
    GemmProblem problem;
    GemmBatch axes;
    bool a_steps_as_one, b_steps_as_one;

    int64_t calls() const {
      return axes.rank == 0
                 ? 1
                 : axes.count() / std::max<int64_t>(*std::max_element(axes.size, axes.size + axes.rank), 1);
    }
  };
  const auto see = [&] {
    const Operand left = after(a, batch, copy_a, type), right = after(b, batch, copy_b, type);
    GemmBatch g = batch;
    std::ranges::copy(left.steps, g.a_stride);
    std::ranges::copy(right.steps, g.b_stride);
    Seen seen{problem, merged(g), steps_as_one(g, g.a_stride), steps_as_one(g, g.b_stride)};
    seen.problem.a = left.matrix;
    seen.problem.b = right.matrix;
    fold_into_rows(seen.problem, seen.axes);
    return seen;
  };
  Seen seen = see();
  if (seen.calls() > kMostProductCalls && steps_as_one(batch, batch.c_stride)) {
    if (!seen.a_steps_as_one) copy_a = Copy::whole;
    if (!seen.b_steps_as_one) copy_b = Copy::whole;
    seen = see();
  }

  ProductSteps s;
  s.a = packed(a, batch, copy_a, type);
  s.b = packed(b, batch, copy_b, type);
  if (problem.bias && problem.bias_dtype != problem.c_dtype) {
    s.bias = {.packs = true, .type = problem.c_dtype, .axes = {}};
    s.bias.axes.add(problem.n, 1);
  }
  s.call.problem = seen.problem;
  if (problem.bias) s.call.problem.bias_dtype = problem.c_dtype;
  const GemmBatch& g = seen.axes;
  // The longest axis is the library's, the others are looped over.
  const int longest = static_cast<int>(std::max_element(g.size, g.size + g.rank) - g.size);
  for (int d = 0; d < g.rank; ++d) {
    GemmBatch& to = d == longest ? s.call.batch : s.loop;
    to.size[to.rank] = g.size[d];
    to.a_stride[to.rank] = g.a_stride[d];
    to.b_stride[to.rank] = g.b_stride[d];
    to.c_stride[to.rank++] = g.c_stride[d];
  }
  RECKON_CHECK(library_takes(s.call),
               "a product of {} and {} into {} with strides {}, {}: expected a result in the operands' type or "
               "f32, dense along one axis",
               name_of(problem.a.dtype), name_of(problem.b.dtype), name_of(problem.c_dtype),
               problem.c_row_stride, problem.c_col_stride);
  return s;
}

}  // namespace reckon::ops::gpu
