// x where the mask is zero, the value elsewhere. The mask broadcasts to x: axes are matched from the last on.
#include "ops/masked_fill/masked_fill.h"
#include "ops/reference.h"

namespace reckon::ops {
namespace {

enum Input : int { kX, kMask };

HostTensors masked_fill(const ReferenceCall& c) {
  const HostTensor &x = c.in[kX], &mask = c.in[kMask];
  HostTensor y(x.shape);
  for (int64_t i = 0; i < x.numel(); ++i) {
    int64_t rest = i, at = 0, step = 1;  // the mask's element over x's element i
    for (int axis = x.shape.rank() - 1, own = mask.shape.rank() - 1; own >= 0; --axis, --own) {
      if (mask.shape[own] != 1) at += rest % x.shape[axis] * step;
      rest /= x.shape[axis];
      step *= mask.shape[own];
    }
    y.values[i] = mask.values[at] == 0 ? x.values[i] : c.as<MaskedFillAttrs>().value;
  }
  return {y};
}

}  // namespace

std::vector<OpReference> masked_fill_references() {
  return {{.op = "masked_fill",
           .compute = masked_fill,
           .values = {{.name = "a row of flags",
                       .inputs = {{{2, 3}, {1, 2, 3, 4, 5, 6}}, {{3}, {0, 1, 0}}},
                       .attrs = std::make_shared<MaskedFillAttrs>(-1.5),
                       .outputs = {{{2, 3}, {1, -1.5, 3, 4, -1.5, 6}}},
                       .source = "the flag in the middle fills both rows"}},
           .golden = {"ops/masked_fill_a.safetensors"}}};
}

}  // namespace reckon::ops
