// RECKON_SMALLEST_SHAPES in the environment asks for fewer and smaller shapes, which still take every path:
// for runs under ThreadSanitizer.
#pragma once

#include <cstdlib>

namespace reckon::testing {

inline bool smallest_shapes() { return std::getenv("RECKON_SMALLEST_SHAPES") != nullptr; }

}  // namespace reckon::testing
