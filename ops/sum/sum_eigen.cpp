// Sums over axes: every element is added to the result that has its other indices.
#include "ops/reference.h"
#include "ops/sum/sum_attrs.h"

namespace reckon::ops {
namespace {

HostTensors sum(const ReferenceCall& c) {
  const auto& t = c.as<SumAttrs>();
  const HostTensor& x = c.in[0];
  // Of an index, or of the shape: without the summed axes, or with `one` in their place.
  const auto kept = [&](const Dims& d, int64_t one) {
    Dims out;
    for (int a = 0; a < d.rank(); ++a) {
      if (!((t.axes >> a) & 1u))
        out.push_back(d[a]);
      else if (t.keep_axes)
        out.push_back(one);
    }
    return out;
  };
  HostTensor y(kept(x.shape, 1));
  for_each_index(x.shape, [&](const Dims& i) { y.at(kept(i, 0)) += x.at(i) / t.divisor; });
  return {y};
}

}  // namespace

std::vector<OpReference> sum_references() {
  const HostTensor x({2, 3}, {1, 2, 3, 4, 5, 6});
  return {{.op = "sum",
           .compute = sum,
           .values = {{.name = "rows of 1 to 6",
                       .inputs = {x},
                       .attrs = std::make_shared<SumAttrs>(0b10u, false),
                       .outputs = {{{2}, {6, 15}}},
                       .source = "1 + 2 + 3 and 4 + 5 + 6"},
                      {.name = "columns of 1 to 6, axis kept",
                       .inputs = {x},
                       .attrs = std::make_shared<SumAttrs>(0b01u, true),
                       .outputs = {{{1, 3}, {5, 7, 9}}},
                       .source = "1 + 4, 2 + 5 and 3 + 6"}},
           .golden = {"ops/mean_var_a.safetensors"}}};
}

}  // namespace reckon::ops
