// The parts one after the other along an axis.
#include "ops/concat/concat_attrs.h"
#include "ops/reference.h"

namespace reckon::ops {
namespace {

HostTensors concat(const ReferenceCall& c) {
  const int axis = c.as<ConcatAttrs>().axis;
  Shape shape = c.in[0].shape;
  shape[axis] = 0;
  for (const HostTensor& part : c.in) shape[axis] += part.size(axis);
  HostTensor out(shape);
  int64_t first = 0;
  for (const HostTensor& part : c.in) {
    for_each_index(part.shape, [&](const Dims& i) {
      Dims to = i;
      to[axis] += first;
      out.at(to) = part.at(i);
    });
    first += part.size(axis);
  }
  return {out};
}

}  // namespace

std::vector<OpReference> concat_references() {
  return {{.op = "concat", .compute = concat, .golden = {"ops/concat_split_a.safetensors"}}};
}

}  // namespace reckon::ops
