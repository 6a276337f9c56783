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
// took the same path. f may capture parameters, and nothing that dies before backward; a write to what it read,
// captured or not, is an error in backward. Outputs that no gradient flows to require none, and inputs and
// parameters that f returns are handed through, so gradients are those of f(inputs) bit for bit.
using SegmentFn = std::function<TensorList(std::span<const Tensor>)>;
TensorList segment(Boundary boundary, const SegmentFn& f, TensorList inputs);

}  // namespace reckon::autograd
