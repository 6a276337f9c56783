// Rows of a table by id; the table's gradient adds each position's gradient to the row it read.
#include "ops/embedding/embedding_attrs.h"
#include "ops/reference.h"

namespace reckon::ops {
namespace {

HostTensors embedding(const ReferenceCall& c) {
  const HostTensor &ids = c.in[embedding_in::ids], &table = c.in[embedding_in::table];
  Shape shape = ids.shape;
  shape.push_back(table.size(1));
  HostTensor y(shape);
  for (int64_t i = 0; i < ids.numel(); ++i)
    y.rows().row(i) = table.rows().row(static_cast<int64_t>(ids.values[i]));
  return {y};
}

HostTensors embedding_backward(const ReferenceCall& c) {
  const HostTensor &g = c.in[embedding_backward_in::g], &ids = c.in[embedding_backward_in::ids];
  HostTensor dtable({c.as<EmbeddingBackwardAttrs>().vocabulary, g.last()});
  for (int64_t i = 0; i < ids.numel(); ++i)
    dtable.rows().row(static_cast<int64_t>(ids.values[i])) += g.rows().row(i);
  return {dtable};
}

}  // namespace

std::vector<OpReference> embedding_references() {
  return {{.op = "embedding", .compute = embedding, .golden = {"ops/embedding_repeats.safetensors"}},
          {.op = "embedding_backward",
           .compute = embedding_backward,
           .golden = {"ops/embedding_repeats.safetensors"}}};
}

}  // namespace reckon::ops
