// The largest number of axes of a tensor; apart from shape.h so that kernels need nothing else of it.
#pragma once

namespace reckon {

inline constexpr int kMaxRank = 8;

}  // namespace reckon
