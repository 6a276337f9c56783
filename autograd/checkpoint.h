// Segments that backward runs again instead of keeping their insides. Model code marks where segments begin and
// end; the policy in force decides whether a mark does anything.
#pragma once

#include <functional>

#include "autograd/grad_mode.h"
#include "runtime/tensor.h"

namespace reckon::autograd {

enum class Boundary : uint8_t { sublayer, block };

// Runs f(inputs). Under the matching policy keeps only `inputs`, the random state, the precision, the fusions
// and the module path; backward runs f once more (phase `recompute`, same random numbers) and checks that it
// took the same path. f must reach every tensor that changes between calls through its arguments; it may
// capture parameters, and nothing that dies before backward.
using SegmentFn = std::function<TensorList(std::span<const Tensor>)>;
TensorList segment(Boundary boundary, const SegmentFn& f, TensorList inputs);

}  // namespace reckon::autograd
