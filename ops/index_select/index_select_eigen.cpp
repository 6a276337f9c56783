// Slices of an axis by index, sums of slices into an axis, and one-hot vectors.
#include "ops/index_select/index_select_attrs.h"
#include "ops/reference.h"

namespace reckon::ops {
namespace {

// Of an index into [a.., i.., b..]: the index into [a.., n, b..] that ids [i..] point to.
Dims pointed_to(const Dims& index, int axis, const HostTensor& ids) {
  const int after = axis + ids.shape.rank();
  Dims out = index.slice(0, axis);
  out.push_back(static_cast<int64_t>(ids.at(index.slice(axis, after))));
  for (int k = after; k < index.rank(); ++k) out.push_back(index[k]);
  return out;
}

HostTensors index_select(const ReferenceCall& c) {
  const HostTensor &x = c.in[index_select_in::x], &ids = c.in[index_select_in::ids];
  const int axis = c.as<IndexAttrs>().axis;
  Shape shape = x.shape.slice(0, axis);
  for (int64_t extent : ids.shape) shape.push_back(extent);
  for (int k = axis + 1; k < x.shape.rank(); ++k) shape.push_back(x.shape[k]);
  HostTensor y(shape);
  for_each_index(shape, [&](const Dims& i) { y.at(i) = x.at(pointed_to(i, axis, ids)); });
  return {y};
}

HostTensors scatter_add(const ReferenceCall& c) {
  const auto& t = c.as<IndexAttrs>();
  const HostTensor &x = c.in[scatter_add_in::x], &ids = c.in[scatter_add_in::ids],
                   &src = c.in[scatter_add_in::src];
  Shape shape = src.shape.slice(0, t.axis);
  shape.push_back(t.extent);
  for (int k = t.axis + ids.shape.rank(); k < src.shape.rank(); ++k) shape.push_back(src.shape[k]);
  HostTensor y = x.defined ? x : HostTensor(shape);
  for_each_index(src.shape, [&](const Dims& i) { y.at(pointed_to(i, t.axis, ids)) += src.at(i); });
  return {y};
}

HostTensors one_hot(const ReferenceCall& c) {
  const HostTensor& ids = c.in[0];
  Shape shape = ids.shape;
  shape.push_back(c.as<OneHotAttrs>().n_classes);
  HostTensor y(shape);
  for (int64_t i = 0; i < ids.numel(); ++i) y.rows()(i, static_cast<int64_t>(ids.values[i])) = 1;
  return {y};
}

}  // namespace

std::vector<OpReference> index_select_references() {
  const HostTensor x({3, 2}, {1, 2, 3, 4, 5, 6}), ids = whole_numbers({3}, {2, 0, 2});
  const auto rows = std::make_shared<IndexAttrs>(0, 3), columns = std::make_shared<IndexAttrs>(1, 2);
  return {{.op = "index_select",
           .compute = index_select,
           .values = {{.name = "rows 2, 0, 2",
                       .inputs = {x, ids},
                       .attrs = rows,
                       .outputs = {{{3, 2}, {5, 6, 1, 2, 5, 6}}},
                       .source = "x[[2, 0, 2]], written out"},
                      {.name = "columns [[1, 0], [0, 0]]",
                       .inputs = {x, whole_numbers({2, 2}, {1, 0, 0, 0})},
                       .attrs = columns,
                       .outputs = {{{3, 2, 2}, {2, 1, 1, 1, 4, 3, 3, 3, 6, 5, 5, 5}}},
                       .source = "x[:, [[1, 0], [0, 0]]], written out"}}},
          {.op = "scatter_add",
           .compute = scatter_add,
           .values = {{.name = "rows 2, 0, 2",
                       .inputs = {{{3, 2}, {10, 20, 30, 40, 50, 60}}, ids, x},
                       .attrs = rows,
                       .outputs = {{{3, 2}, {13, 24, 30, 40, 56, 68}}},
                       .source = "row 0 gets (3, 4), row 2 gets (1, 2) and (5, 6)"}}},
          {.op = "one_hot",
           .compute = one_hot,
           .values = {{.name = "2, 0, 2",
                       .inputs = {ids},
                       .attrs = std::make_shared<OneHotAttrs>(3, DType::f32),
                       .outputs = {{{3, 3}, {0, 0, 1, 1, 0, 0, 0, 0, 1}}},
                       .source = "the definition"}}}};
}

}  // namespace reckon::ops
