// The target takes the source's values.
#include "ops/copy_into/copy_into_inputs.h"
#include "ops/reference.h"

namespace reckon::ops {
namespace {

HostTensors copy_into(const ReferenceCall& c) { return {c.in[copy_into_in::source]}; }

}  // namespace

std::vector<OpReference> copy_into_references() {
  return {{.op = "copy_into",
           .compute = copy_into,
           .values = {{.name = "overwrites",
                       .inputs = {{{2, 2}, {9, 9, 9, 9}}, {{2, 2}, {1, 2, 3, 4}}},
                       .outputs = {{{2, 2}, {1, 2, 3, 4}}},
                       .source = "the definition"}}}};
}

}  // namespace reckon::ops
