// Rows on both sides of what fits the tiles of fused kernels (512 bytes), for ops that leave wider ones to the library.
#pragma once

#include <cstdint>

#include "runtime/core/dtype.h"

namespace reckon::testing {

#ifdef RECKON_SMALLEST_SHAPES
inline constexpr int64_t kWidths[] = {200, 264}, kRows[] = {3};
inline constexpr DType kTypes[] = {DType::bf16};
#else
inline constexpr int64_t kWidths[] = {160, 200, 256, 264, 384, 896}, kRows[] = {1, 33};
inline constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::f16};
#endif

}  // namespace reckon::testing
