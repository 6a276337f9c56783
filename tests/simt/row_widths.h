// Rows on both sides of what fits the tiles of fused kernels (512 bytes), for ops that
// leave wider ones to the library.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/core/dtype.h"
#include "tests/gpu/smallest_shapes.h"

namespace reckon::testing {

inline const std::vector<int64_t> kWidths =
    smallest_shapes() ? std::vector<int64_t>{200, 264} : std::vector<int64_t>{160, 200, 256, 264, 384, 896};
inline const std::vector<int64_t> kRows =
    smallest_shapes() ? std::vector<int64_t>{3} : std::vector<int64_t>{1, 33};
inline const std::vector<DType> kTypes = smallest_shapes()
                                             ? std::vector<DType>{DType::bf16}
                                             : std::vector<DType>{DType::f32, DType::bf16, DType::f16};

}  // namespace reckon::testing
