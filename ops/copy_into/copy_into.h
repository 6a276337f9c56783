// Writes one tensor's values over another of the same shape and type, usually a slice of a longer one. Called
// by the key/value cache; no gradient.
#pragma once

#include "ops/op.h"

namespace reckon::ops {

// target [...], any strides that do not overlap; source of the same shape and type, any strides. Other elements
// of the target's storage stay as they are. A source that overlaps the target in another layout is copied first. Traffic: the source read once, as much written.
void copy_into(const Tensor& target, const Tensor& source);

}  // namespace reckon::ops
