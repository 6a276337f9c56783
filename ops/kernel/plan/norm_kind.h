// The norms that fused ops read their input through.
#pragma once

#include <cstdint>

namespace reckon::ops {

enum class NormKind : uint8_t { layer, rms };

}  // namespace reckon::ops
