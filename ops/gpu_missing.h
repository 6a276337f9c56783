// Ops whose GPU kernels are not written yet: plans for a GPU refuse them by name, on meta as on the card. The emulator's
// tests compare this list with the kernels there are.
#pragma once

#include <string_view>

namespace reckon::ops {

inline constexpr std::string_view kNotOnGpu[] = {"triangle_multiply_backward"};

}  // namespace reckon::ops
