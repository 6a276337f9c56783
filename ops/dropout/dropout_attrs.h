#pragma once

#include "ops/kernel_args.h"

namespace reckon::ops {

struct DropoutKey {
  uint64_t seed = 0, stream = 0;
};

struct DropoutAttrs : Attrs {
  DropoutAttrs(double p, DropoutKey key, uint32_t shared_axes);
  double scale;        // of kept elements
  uint32_t threshold;  // words below it drop
  DropoutKey key;
  uint32_t shared;  // bit i: axis i shares the mask
};

}  // namespace reckon::ops
