// Ops whose GPU kernels are not written yet: plans for a GPU refuse them by name, on meta as on the card. The emulator's
// tests compare this list with the kernels there are.
#pragma once

#include <string_view>

namespace reckon::ops {

inline constexpr std::string_view kNotOnGpu[] = {"attention_backward", "outer_product_mean", "outer_product_mean_backward"};

}  // namespace reckon::ops
