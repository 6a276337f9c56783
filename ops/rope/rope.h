// Rotary position embedding, rotate-half pairing: x [B, S, heads, D], element i of the first half of
// D and element i + D/2 form a pair that turns by positions[s] * theta^(-2i/D). positions i64, [S]
// or [B, S]. Angles are computed in f64, so that long contexts lose nothing. Keeps only the
// positions; backward turns the other way.
#pragma once

#include "ops/op.h"

namespace reckon::ops {

Tensor rope(const Tensor& x, const Tensor& positions, double theta);

}  // namespace reckon::ops
