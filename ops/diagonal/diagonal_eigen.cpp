// The diagonal of two axes, and a tensor of zeros with a diagonal filled in.
#include "ops/diagonal/diagonal_attrs.h"
#include "ops/reference.h"

namespace reckon::ops {
namespace {

// [.., i, .., i, ..]: axis `second` again takes the index of axis `first`.
Dims on_diagonal(const Dims& i, const DiagonalAttrs& t) {
  Dims out = i.slice(0, t.second);
  out.push_back(i[t.first]);
  for (int k = t.second; k < i.rank(); ++k) out.push_back(i[k]);
  return out;
}

HostTensors diagonal(const ReferenceCall& c) {
  const auto& t = c.as<DiagonalAttrs>();
  const HostTensor& x = c.in[0];
  Shape shape = x.shape.slice(0, t.second);
  for (int k = t.second + 1; k < x.shape.rank(); ++k) shape.push_back(x.shape[k]);
  HostTensor out(shape);
  for_each_index(shape, [&](const Dims& i) { out.at(i) = x.at(on_diagonal(i, t)); });
  return {out};
}

HostTensors place_diagonal(const ReferenceCall& c) {
  const auto& t = c.as<DiagonalAttrs>();
  const HostTensor& x = c.in[0];
  HostTensor out(on_diagonal(x.shape, t));
  for_each_index(x.shape, [&](const Dims& i) { out.at(on_diagonal(i, t)) = x.at(i); });
  return {out};
}

}  // namespace

std::vector<OpReference> diagonal_references() {
  const HostTensor square({3, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9}), line({3}, {1, 5, 9}),
      placed({3, 3}, {1, 0, 0, 0, 5, 0, 0, 0, 9});
  const auto attrs = std::make_shared<DiagonalAttrs>(0, 1);
  return {{.op = "diagonal",
           .compute = diagonal,
           .values = {{.name = "1 to 9",
                       .inputs = {square},
                       .attrs = attrs,
                       .outputs = {line},
                       .source = "the definition"}}},
          {.op = "place_diagonal",
           .compute = place_diagonal,
           .values = {{.name = "1, 5, 9",
                       .inputs = {line},
                       .attrs = attrs,
                       .outputs = {placed},
                       .source = "the definition"}}}};
}

}  // namespace reckon::ops
