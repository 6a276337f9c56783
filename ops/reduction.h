// How a loss becomes one number; shared by the loss ops, their kernels and callers.
#pragma once

#include <cstdint>

namespace reckon::ops {

enum class Reduction : uint8_t { none, sum, mean };

}  // namespace reckon::ops
