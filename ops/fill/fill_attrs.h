// What is written by the fill ops: a constant, or a distribution and its random stream. Read by the plans and
// by the kernels of CPU and GPU.
#pragma once

#include "ops/kernel/kernel_args.h"
#include "runtime/core/rng.h"

namespace reckon::ops {

enum class Distribution : uint8_t { uniform, normal, truncated_normal };

// A truncated normal is cut at so many standard deviations; what lies beyond is drawn again from a counter that
// is 2^kRedrawBits higher.
inline constexpr float kTruncation = 2;
inline constexpr int kRedrawBits = 40;

struct FillAttrs : Attrs {
  explicit FillAttrs(double v) : value(v) {}
  double value;
};

struct RandomAttrs : Attrs {
  Distribution distribution = Distribution::normal;
  double mean = 0, spread = 1;
  Philox random;
};

}  // namespace reckon::ops
