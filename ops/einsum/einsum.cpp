#include "ops/einsum/einsum.h"

#include <utility>

#include "ops/binary/binary.h"
#include "ops/diagonal/diagonal.h"
#include "ops/einsum/equation.h"
#include "ops/matmul/matmul.h"
#include "ops/sum/sum.h"
#include "ops/view/view.h"

namespace reckon::ops {
namespace {

using Extents = std::map<std::string, int64_t>;

struct Operand {
  Tensor t;
  Labels labels;
};

Labels join(Labels a, const Labels& b, const Labels& c = {}) {
  a.insert(a.end(), b.begin(), b.end());
  a.insert(a.end(), c.begin(), c.end());
  return a;
}

int64_t size_of_labels(const Labels& labels, const Extents& extents) {
  int64_t n = 1;
  for (const std::string& l : labels) n *= extents.at(l);
  return n;
}

Dims axes_to(const Labels& from, const Labels& order) {
  Dims axes;
  for (const std::string& l : order) axes.push_back(index_of(from, l));
  return axes;
}

Tensor ordered(const Operand& o, const Labels& order) {
  return o.labels == order ? o.t : permute(o.t, axes_to(o.labels, order));
}

// Without the axes of "..." that are 1 here and longer in the other operand: a product repeats them anyway.
Operand without_broadcast_axes(const Tensor& t, const Labels& labels, const Extents& extents) {
  Operand o{t, labels};
  for (size_t i = labels.size(); i-- > 0;) {
    if (o.t.shape()[static_cast<int>(i)] == extents.at(labels[i])) continue;
    o.t = squeeze(o.t, static_cast<int>(i));
    o.labels.erase(o.labels.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return o;
}

// One axis per label, and no label that neither the result nor the other operand has.
Operand reduced(Operand o, const Labels& output, const Labels& other) {
  for (size_t i = 0; i < o.labels.size(); ++i)
    for (size_t j = i + 1; j < o.labels.size();) {
      if (o.labels[i] != o.labels[j]) {
        ++j;
        continue;
      }
      o.t = diagonal(o.t, static_cast<int>(i), static_cast<int>(j));
      o.labels.erase(o.labels.begin() + static_cast<std::ptrdiff_t>(j));
    }
  Dims axes;
  Labels kept;
  for (size_t i = 0; i < o.labels.size(); ++i) {
    if (contains(output, o.labels[i]) || contains(other, o.labels[i]))
      kept.push_back(o.labels[i]);
    else
      axes.push_back(static_cast<int64_t>(i));
  }
  if (axes.rank() > 0) o.t = sum(o.t, axes);
  o.labels = std::move(kept);
  return o;
}

// No label is summed: an elementwise product over the result's axes.
Tensor product(const Operand& a, const Operand& b, const Labels& output, const Extents& extents) {
  const auto aligned = [&](const Operand& o) {
    Labels order;
    Shape shape;
    for (const std::string& l : output) {
      const bool has = contains(o.labels, l);
      if (has) order.push_back(l);
      shape.push_back(has ? extents.at(l) : 1);
    }
    return reshape(ordered(o, order), shape);
  };
  return mul(aligned(a), aligned(b));
}

Shape matrix_shape(const Labels& batch, bool merge_batch, const Labels& rows, const Labels& columns,
                   const Extents& extents) {
  Shape s;
  if (merge_batch)
    s.push_back(size_of_labels(batch, extents));
  else
    for (const std::string& l : batch) s.push_back(extents.at(l));
  s.push_back(size_of_labels(rows, extents));
  s.push_back(size_of_labels(columns, extents));
  return s;
}

// Elements that bringing `o` into this order and shape would copy.
int64_t copied_elements(const Operand& o, const Labels& order, const Shape& shape) {
  Layout unused;
  return o.t.layout().permuted(axes_to(o.labels, order)).reshaped(shape, &unused) ? 0 : o.t.numel();
}

// The matrix product takes up to four batch axes that do not step as one; beyond, they are merged.
constexpr size_t kMaxBatchAxes = 4;

Tensor contraction(Operand a, Operand b, const Labels& output, const Extents& extents) {
  // The result's last axis should be its fastest: the operand that owns it goes second.
  if (!output.empty() && contains(a.labels, output.back()) && !contains(b.labels, output.back()))
    std::swap(a, b);
  Labels batch, rows, columns, summed_a, summed_b;
  for (const std::string& l : output)
    if (contains(a.labels, l) && contains(b.labels, l)) batch.push_back(l);
  for (const std::string& l : a.labels) {
    if (!contains(b.labels, l))
      rows.push_back(l);
    else if (!contains(output, l))
      summed_a.push_back(l);
  }
  for (const std::string& l : b.labels) {
    if (!contains(a.labels, l))
      columns.push_back(l);
    else if (!contains(output, l))
      summed_b.push_back(l);
  }
  const bool merge = batch.size() > kMaxBatchAxes;
  const Shape shape_a = matrix_shape(batch, merge, rows, summed_a, extents),
              shape_b = matrix_shape(batch, merge, summed_a, columns, extents);
  // The summed axes may lie in either operand's order; the one that copies less wins.
  const auto copies = [&](const Labels& summed) {
    return copied_elements(a, join(batch, rows, summed), shape_a) +
           copied_elements(b, join(batch, summed, columns), shape_b);
  };
  const Labels& summed = copies(summed_b) < copies(summed_a) ? summed_b : summed_a;
  const Tensor left = reshape(ordered(a, join(batch, rows, summed)), shape_a);
  const Tensor right = reshape(ordered(b, join(batch, summed, columns)), shape_b);
  Tensor result = matmul(left, right);
  const Labels made = join(batch, rows, columns);
  Shape shape;
  for (const std::string& l : made) shape.push_back(extents.at(l));
  return ordered({reshape(result, shape), made}, output);
}

Tensor evaluate(const Equation& parsed, std::span<const Tensor> operands) {
  const Equation e = spelled_out(parsed, operands);
  const Extents extents = bind_extents(e, operands);
  if (operands.size() == 1) return ordered(reduced({operands[0], e.operands[0]}, e.output, {}), e.output);
  const Operand left = without_broadcast_axes(operands[0], e.operands[0], extents),
                right = without_broadcast_axes(operands[1], e.operands[1], extents);
  const Operand a = reduced(left, e.output, right.labels), b = reduced(right, e.output, left.labels);
  for (const std::string& l : a.labels)
    if (!contains(e.output, l)) return contraction(a, b, e.output, extents);
  return product(a, b, e.output, extents);
}

}  // namespace

Tensor einsum(std::string_view equation, std::initializer_list<Tensor> operands) {
  return evaluate(parse_letters(equation), {operands.begin(), operands.size()});
}

Tensor einsum_named(std::string_view equation, std::initializer_list<Tensor> operands) {
  return evaluate(parse_words(equation), {operands.begin(), operands.size()});
}

// Compositions register nothing.
std::vector<const OpDef*> einsum_ops() { return {}; }

}  // namespace reckon::ops
