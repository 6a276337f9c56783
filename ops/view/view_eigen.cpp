// Views by what they show: element by element from where it comes.
#include "ops/reference.h"
#include "ops/view/view_attrs.h"

namespace reckon::ops {
namespace {

HostTensors permute(const ReferenceCall& c) {
  const Dims& axes = c.as<AxesAttrs>().dims;
  const HostTensor& x = c.in[0];
  Shape shape;
  for (int64_t a : axes) shape.push_back(x.size(static_cast<int>(a)));
  HostTensor y(shape);
  for_each_index(shape, [&](const Dims& i) {
    Dims from = i;
    for (int k = 0; k < i.rank(); ++k) from[static_cast<int>(axes[k])] = i[k];
    y.at(i) = x.at(from);
  });
  return {y};
}

HostTensors reshape(const ReferenceCall& c) { return {shaped(c.as<AxesAttrs>().dims, c.in[0].flat())}; }

HostTensors expand(const ReferenceCall& c) {
  const HostTensor& x = c.in[0];
  HostTensor y(c.as<AxesAttrs>().dims);
  const int added = y.shape.rank() - x.shape.rank();
  for_each_index(y.shape, [&](const Dims& i) {
    Dims from = i.slice(added, i.rank());
    for (int k = 0; k < from.rank(); ++k)
      if (x.shape[k] == 1) from[k] = 0;
    y.at(i) = x.at(from);
  });
  return {y};
}

HostTensors slice(const ReferenceCall& c) {
  const auto& t = c.as<SliceAttrs>();
  Shape shape = c.in[0].shape;
  shape[t.axis] = t.last - t.first;
  HostTensor y(shape);
  for_each_index(shape, [&](const Dims& i) {
    Dims from = i;
    from[t.axis] += t.first;
    y.at(i) = c.in[0].at(from);
  });
  return {y};
}

HostTensors pad_with_zeros(const ReferenceCall& c) {
  const auto& t = c.as<SliceAttrs>();
  Shape shape = c.in[0].shape;
  shape[t.axis] = t.last;
  HostTensor y(shape);
  for_each_index(c.in[0].shape, [&](const Dims& i) {
    Dims to = i;
    to[t.axis] += t.first;
    y.at(to) = c.in[0].at(i);
  });
  return {y};
}

}  // namespace

std::vector<OpReference> view_references() {
  const HostTensor x({2, 3}, {1, 2, 3, 4, 5, 6});
  const auto values = [&](AttrsPtr attrs, HostTensor y, std::string numpy) {
    return std::vector<OpValues>{{.name = "1 to 6",
                                  .inputs = {x},
                                  .attrs = std::move(attrs),
                                  .outputs = {std::move(y)},
                                  .source = std::move(numpy) + ", written out"}};
  };
  return {
      {.op = "permute",
       .compute = permute,
       .values = values(std::make_shared<AxesAttrs>(Dims{1, 0}), {{3, 2}, {1, 4, 2, 5, 3, 6}}, "x.T"),
       .golden = {"ops/permute_reshape_a.safetensors"}},
      {.op = "reshape",
       .compute = reshape,
       .values =
           values(std::make_shared<AxesAttrs>(Dims{3, 2}), {{3, 2}, {1, 2, 3, 4, 5, 6}}, "x.reshape(3, 2)"),
       .golden = {"ops/permute_reshape_a.safetensors"}},
      {.op = "expand",
       .compute = expand,
       .values = values(std::make_shared<AxesAttrs>(Dims{2, 2, 3}),
                        {{2, 2, 3}, {1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6}}, "numpy.broadcast_to(x, (2, 2, 3))")},
      {.op = "slice",
       .compute = slice,
       .values = values(std::make_shared<SliceAttrs>(1, 1, 3), {{2, 2}, {2, 3, 5, 6}}, "x[:, 1:3]")},
      {.op = "pad_with_zeros",
       .compute = pad_with_zeros,
       .values = values(std::make_shared<SliceAttrs>(1, 1, 5), {{2, 5}, {0, 1, 2, 3, 0, 0, 4, 5, 6, 0}},
                        "numpy.pad(x, ((0, 0), (1, 1)))")}};
}

}  // namespace reckon::ops
